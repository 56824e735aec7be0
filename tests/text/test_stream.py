"""Out of core, in parallel, over shards: always the same bits as in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from generated_captions import captions

from itm.config.data import ScoreParameters
from itm.errors import DataError
from itm.text.counts import count_words, document_frequencies
from itm.text.descriptiveness import descriptiveness
from itm.text.idf import idf_table
from itm.text.normalisation import fit_normaliser
from itm.text.shards import count_shard, finish, merge_counts, score_shard
from itm.text.stream import FrequencySum, score_files

Options = Callable[..., ScoreParameters]
ROWS = 3_000


@pytest.fixture(scope="module")
def corpus() -> pa.Table:
    rows = np.arange(ROWS)
    return pa.table(
        {
            "text": captions(ROWS).combine_chunks(),
            "split": pa.array(np.where(rows < 2_500, "train", "test").tolist()),
            "image_id": pa.array([f"i{row}" for row in (rows // 5).tolist()]),
        }
    )


def write(folder: Path, corpus: pa.Table, cuts: list[int]) -> list[Path]:
    paths = []
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(corpus)], strict=True)):
        paths.append(folder / f"shard-{len(cuts)}-{number}.parquet")
        pq.write_table(corpus.slice(start, stop - start), paths[-1], row_group_size=700)
    return paths


def in_memory(corpus: pa.Table, parameters: ScoreParameters) -> pa.Table:
    training = corpus.slice(0, 2_500)
    images = np.array(training["image_id"].to_pylist()) if parameters.document == "image" else None
    table = idf_table(document_frequencies(count_words(training["text"]), images), parameters)
    found = descriptiveness(count_words(corpus["text"]), table)
    normalise = fit_normaliser(found.descriptiveness[:2_500], parameters)
    columns = [found.descriptiveness, normalise(found.descriptiveness), found.words, found.keywords]
    names = ["descriptiveness", "normalised", "words", "keywords"]
    return pa.table([pa.array(column) for column in columns], names=names)


@pytest.mark.parametrize("document", ["caption", "image"])
@pytest.mark.parametrize(("cuts", "size"), [([], 65_536), ([], 64), ([500, 1_000, 2_600], 333), ([5], 50)])
def test_any_cut_gives_the_same_bits(
    tmp_path: Path, corpus: pa.Table, options: Options, document: str, cuts: list[int], size: int
) -> None:
    parameters = options(document=document, minimum_document_frequency=3)
    done: list[int] = []
    score_files(write(tmp_path, corpus, cuts), tmp_path / "out.parquet", parameters, size=size, progress=done.append)
    assert pq.read_table(tmp_path / "out.parquet").equals(in_memory(corpus, parameters))
    assert sum(done) == 2 * ROWS
    assert not list(tmp_path.glob(".*"))


def test_captions_of_nobody_are_documents_of_their_own(tmp_path: Path, corpus: pa.Table, options: Options) -> None:
    alone = corpus.drop_columns("image_id")
    score_files(write(tmp_path, alone, [1_000]), tmp_path / "out.parquet", options(document="image"))
    assert pq.read_table(tmp_path / "out.parquet").equals(in_memory(corpus, options(document="caption")))


@pytest.mark.parametrize(("use", "workers"), [("threads", 3), pytest.param("processes", 2, marks=pytest.mark.slow)])
def test_workers_give_the_same_bits(tmp_path: Path, corpus: pa.Table, options: Options, use: str, workers: int) -> None:
    paths = write(tmp_path, corpus, [1_000])
    score_files(paths, tmp_path / "one.parquet", options(), size=400)
    score_files(paths, tmp_path / "more.parquet", options(), workers=workers, use=use, size=400)  # type: ignore[arg-type]
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "more.parquet").read_bytes()


def test_a_worker_that_fails_stops_the_run(tmp_path: Path, options: Options) -> None:
    pq.write_table(pa.table({"text": ["a dog"] * 50 + [None] + ["a cat"] * 50}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="1 values are missing"):
        score_files([tmp_path / "a.parquet"], tmp_path / "out.parquet", options(), workers=2, size=10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def scatter_and_gather(folder: Path, shards: list[Path], parameters: ScoreParameters) -> pa.Table:
    folder.mkdir()
    for number, shard in enumerate(shards):
        count_shard(shard, folder / f"count-{number}.parquet", parameters)
    counted = sorted(folder.glob("count-*"), reverse=True)
    merge_counts(counted, folder / "idf.parquet", parameters)
    for number, shard in enumerate(shards):
        score_shard(shard, folder / "idf.parquet", folder / f"score-{number}.parquet")
    finish(sorted(folder.glob("score-*")), folder / "idf.parquet", folder / "captions.parquet")
    return pq.read_table(folder / "captions.parquet")


@pytest.mark.parametrize("document", ["caption", "image"])
def test_four_shards_give_the_bits_of_one(tmp_path: Path, corpus: pa.Table, options: Options, document: str) -> None:
    parameters = options(document=document)
    one = scatter_and_gather(tmp_path / "one", write(tmp_path, corpus, []), parameters)
    four = scatter_and_gather(tmp_path / "four", write(tmp_path, corpus, [400, 1_500, 2_800]), parameters)
    assert one.equals(four)
    assert one.equals(in_memory(corpus, parameters))
    assert (tmp_path / "one/idf.parquet").read_bytes() == (tmp_path / "four/idf.parquet").read_bytes()


def test_frequencies_are_compacted_on_the_way(corpus: pa.Table) -> None:
    total = FrequencySum()
    total._limit = 100
    for start in range(0, ROWS, 100):
        total.add(document_frequencies(count_words(corpus["text"].slice(start, 100))))
        assert sum(len(part.words) for part in total._parts) <= total._limit
    whole = document_frequencies(count_words(corpus["text"]))
    assert total.total().counts.tolist() == whole.counts.tolist()
    assert total.total().words.equals(whole.words)
    assert total.total().documents == ROWS


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"caption": ["a"]}, "no column text; it has caption"),
        ({"text": ["a", None]}, "1 values are missing (rows 1)"),
        ({"text": ["a"], "split": ["test"]}, "no training captions"),
        ({"text": pa.array([], pa.string())}, "no training captions"),
    ],
)
def test_files_that_cannot_be_scored(tmp_path: Path, options: Options, table: dict[str, object], message: str) -> None:
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(DataError) as caught:
        score_files([tmp_path / "a.parquet"], tmp_path / "out.parquet", options())
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_files_that_are_not_there_or_not_parquet(tmp_path: Path, options: Options) -> None:
    (tmp_path / "text.parquet").write_text("no")
    for name, message in (("none.parquet", "no such file"), ("text.parquet", "cannot be read")):
        with pytest.raises(DataError, match=message):
            score_files([tmp_path / name], tmp_path / "out.parquet", options())
