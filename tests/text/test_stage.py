"""The score stage: its files and metrics, what they depend on, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from itm.errors import DataError
from itm.stages.score import score
from itm.text import corpus
from itm.text.explain import app, total, word_shares
from itm.text.tables import read_idf


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def run(clean: Path, out: Path) -> Path:
    score(clean, out, out / "score.json")
    return out


def test_tables(clean: Path, tmp_path: Path) -> None:
    out = run(clean, tmp_path / "out")
    captions, scored = pq.read_table(clean / "captions.parquet"), pq.read_table(out / "captions.parquet")
    assert scored.column_names == ["caption_id", "descriptiveness", "normalised", "words", "keywords"]
    assert scored["caption_id"].equals(captions["caption_id"])
    assert [str(field.type) for field in scored.schema] == ["int64", "double", "float", "int32", "int32"]
    assert scored["words"].to_pylist() == [len(text.split()) for text in captions["text"].to_pylist()]
    idf = pq.read_table(out / "idf.parquet").to_pylist()
    assert idf == sorted(idf, key=lambda row: (-row["idf"], row["word"]))
    by_word = {row["word"]: row for row in idf}
    assert by_word["dog"]["document_frequency"] == 3  # images whose captions hold it
    assert by_word["zebra"]["document_frequency"] == 0  # seen in dev only: it must not count
    assert not by_word["a"]["keyword"]
    matrix = sp.load_npz(out / "keywords.npz")
    assert matrix.shape == (len(captions), len(idf))
    assert matrix.has_canonical_format
    for row, text in enumerate(captions["text"].to_pylist()):
        held = {
            idf[column]["word"]: value for column, value in zip(matrix[[row]].indices, matrix[[row]].data, strict=True)
        }
        assert held == {word: by_word[word]["idf"] for word in text.split() if by_word[word]["keyword"]}
    assert np.asarray(matrix.sum(1)).ravel() == pytest.approx(scored["descriptiveness"].to_numpy())


def test_equal_input_gives_equal_bytes(clean: Path, tmp_path: Path) -> None:
    first, second = run(clean, tmp_path / "a"), run(clean, tmp_path / "b")
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert sorted(path.name for path in first.iterdir()) == [
        "captions.parquet",
        "idf.parquet",
        "keywords.npz",
        "score.json",
    ]


def test_evaluation_captions_change_no_training_number(clean: Path, tmp_path: Path) -> None:
    before = pq.read_table(run(clean, tmp_path / "a") / "captions.parquet").to_pylist()
    rows = pq.read_table(clean / "captions.parquet").to_pylist()
    for row in rows:
        if row["split"] != "train":
            row["text"] = "a dog dog dog eats a zebra"
    pq.write_table(pa.Table.from_pylist(rows), clean / "captions.parquet")
    after = pq.read_table(run(clean, tmp_path / "b") / "captions.parquet").to_pylist()
    training = [number for number, row in enumerate(rows) if row["split"] == "train"]
    assert [before[row] for row in training] == [after[row] for row in training]
    assert before != after


def test_metrics(clean: Path, tmp_path: Path) -> None:
    found = json.loads((run(clean, tmp_path / "out") / "score.json").read_text())
    tfidf = found["scores"]["tfidf"]
    assert tfidf["chains"] == {"chain_strict": 1.0, "chain_tau": 1.0}
    assert tfidf["test"]["level_tau"] == 1.0
    assert tfidf["test"]["multiplicity_spearman"] < -0.5
    assert tfidf["test"]["crowdflower_spearman"] < 0  # only the other image's captions count
    assert set(found["scores"]) == {"tfidf", "word_count", "shuffled", "random"}
    assert found["corpus"]["words_unseen_in_training"] == 1


def test_what_is_unknown_is_left_out(clean: Path, tmp_path: Path) -> None:
    rows = [row | {"level": -1, "multiplicity": -1} for row in pq.read_table(clean / "captions.parquet").to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), clean / "captions.parquet")
    (clean / "hierarchies.parquet").unlink()
    (clean / "ratings.parquet").unlink()
    tfidf = json.loads((run(clean, tmp_path / "out") / "score.json").read_text())["scores"]["tfidf"]
    assert set(tfidf) == {"dev", "test"}
    assert set(tfidf["test"]) == {"variance_within"}


def test_errors(clean: Path, tmp_path: Path) -> None:
    rows = pq.read_table(clean / "captions.parquet").to_pylist()
    rows[3]["text"] = None
    pq.write_table(pa.Table.from_pylist(rows), clean / "captions.parquet")
    with pytest.raises(DataError, match=r"captions.parquet, column text: 1 values are missing \(rows 3\)"):
        run(clean, tmp_path / "out")
    pq.write_table(pa.table({"text": ["a"]}), clean / "captions.parquet")
    with pytest.raises(DataError, match="no column caption_id, image_id, split and 2 more; it has text"):
        run(clean, tmp_path / "out")
    with pytest.raises(DataError, match="dvc repro"):
        run(tmp_path / "none", tmp_path / "out")


def test_explanation_adds_up(clean: Path, tmp_path: Path) -> None:
    table = read_idf(run(clean, tmp_path / "out") / "idf.parquet")
    texts = ["a white dog with dark spots and dark spots", "a zebra", ""]
    shares = word_shares(texts, table)
    for row, d in enumerate(total(texts, table)):
        assert sum(share.points for share in shares if share.text == row) == pytest.approx(d)
    by_word = {share.word: share for share in shares}
    assert by_word["spots"].occurrences == 2
    assert by_word["zebra"].document_frequency == 0
    assert by_word["zebra"].capped
    assert (by_word["a"].keyword, by_word["a"].points) == (False, 0.0)


def test_command(clean: Path, tmp_path: Path) -> None:
    idf = run(clean, tmp_path / "out") / "idf.parquet"
    shown = CliRunner().invoke(app, ["a dog", "a zebra", "--explain", "--idf", str(idf)])
    assert shown.exit_code == 0
    lines = [line.split(maxsplit=1)[1] for line in shown.output.splitlines()]
    assert [line.split("  ")[0] for line in lines] == ["a dog", "dog", "a", "a zebra", "zebra", "a"]
    assert "not in training" in shown.output


def test_scores_that_break_their_contract_are_not_written(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITM_LOGS", str(tmp_path / "logs"))
    scored_table = corpus.scored_table

    def broken(*given: Any) -> pa.Table:
        table = scored_table(*given)
        return table.set_column(1, "descriptiveness", pa.array([float("nan"), *table[1].to_pylist()[1:]]))

    monkeypatch.setattr(corpus, "scored_table", broken)
    with pytest.raises(DataError, match=r"scored\.descriptiveness: .*\[null\], 1 row"):
        run(clean, tmp_path / "out")
    assert not (tmp_path / "out/captions.parquet").exists()
    assert json.loads((tmp_path / "logs/score-faults.json").read_text())[0]["column"] == "descriptiveness"


@pytest.mark.slow
def test_start_up_is_not_wasted() -> None:
    code = (
        "import sys, itm.stages.score, itm.text.corpus, itm.text.measures, itm.text.stream;"
        "print(sorted({'torch', 'sklearn', 'scipy', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["keyword_count", "expected_fit"])
def test_other_kinds_of_score(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    parameters = Path("params.yaml").read_text().replace("kind: tfidf", f"kind: {kind}")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(parameters)
    out = run(clean, tmp_path / "out")
    found = json.loads((out / "score.json").read_text())["scores"]
    assert set(found) == {kind, "word_count", "shuffled", "random"}
    assert found[kind]["chains"]["chain_tau"] > 0.8
    shown = CliRunner().invoke(app, ["a dog", "--idf", str(out / "idf.parquet")])
    assert shown.exit_code == 0
