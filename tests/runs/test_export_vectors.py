"""Vectors as Parquet: read back, they give the same figures to the last digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from itm.errors import ConfigError, DataError, ProjectError
from itm.evaluation.published import evaluate_file, hierarcaps
from itm.index.vectors import Facts, write_index
from itm.runs.commands import export_app
from itm.runs.vectors import export_vectors

RNG = np.random.default_rng(0)
IMAGE, TEXT = RNG.standard_normal((3, 5)).astype(np.float32), RNG.standard_normal((6, 5)).astype(np.float32)
OWNERS = np.array(["x", "x", "y", "a photo", "a photo", "a photo"])
PAIRS = {
    "image_ids": np.array(["a photo", "x", "y"]),
    "image_embeddings": IMAGE,
    "caption_ids": np.arange(6) * 10,
    "caption_embeddings": TEXT,
    "caption_image_ids": OWNERS,
}


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def export(source: Path, out: Path) -> str:
    done = CliRunner().invoke(export_app, [str(source), "--out", str(out)])
    if isinstance(done.exception, ProjectError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("floats", [np.float32, np.float64])
def test_pairs_come_back(tmp_path: Path, floats: type) -> None:
    third = {"image_embeddings": IMAGE.astype(floats) / 3, "caption_embeddings": TEXT.astype(floats) / 3}
    source = saved(tmp_path / "x.npz", **PAIRS | third)
    assert export(source, tmp_path / "x.parquet").endswith("x.parquet: 3 image, 6 caption\n")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.from_numpy_dtype(floats), 5)
    assert table["id"].to_pylist()[2:5] == ["y", "0", "10"]
    wanted, found = (evaluate_file(path, ["pairs"]) for path in (source, tmp_path / "x.parquet"))
    assert found.metrics == wanted.metrics
    for (*_, queries, groups, values), (*_, queries_2, groups_2, values_2) in zip(
        found.columns, wanted.columns, strict=True
    ):
        assert queries.tolist() == queries_2.tolist()
        assert groups.tolist() == groups_2.tolist()
        assert values.tolist() == values_2.tolist()


def test_hierarcaps_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierarcaps, "ROWS", 2)
    (tmp_path / "hierarcaps_test.csv").write_text("id,captions,image_url\n0,a=>b=>c=>d,1.jpg\n1,a=>b=>c=>e f,2.jpg\n")
    arrays = {"image_embeddings": IMAGE[:2], "text_embeddings": TEXT[:5], "root_embedding": TEXT[5]}
    source = saved(tmp_path / "x.npz", **arrays)
    assert "2 image, 5 text, 1 root" in export(source, tmp_path / "x.parquet")
    wanted, found = (
        evaluate_file(path, ["hierarcaps"], annotations=tmp_path, normalize=True).metrics
        for path in (source, tmp_path / "x.parquet")
    )
    assert found == wanted


def test_an_index_and_the_embeddings_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_index(tmp_path / "x.index", ["b.jpg", "below/a.jpg"], IMAGE[:2], Facts("0", "clip", "dot", "photos", "m"))
    assert "2 image" in export(Path("x.index"), tmp_path / "i.parquet")
    table = pq.read_table(tmp_path / "i.parquet")
    assert table["id"].to_pylist() == ["b.jpg", "below/a.jpg"]
    assert np.array_equal(np.array(table["embedding"].to_pylist(), np.float32), IMAGE[:2])
    clean, run = tmp_path / "data/clean", tmp_path / "embeddings/clip/seed0"
    clean.mkdir(parents=True)
    run.mkdir(parents=True)
    pq.write_table(pa.table({"image_id": OWNERS, "position": [0, 1, 0, 0, 1, 2]}), clean / "captions.parquet")
    own = {"image_ids": PAIRS["image_ids"], "image": IMAGE, "text": TEXT, "text_ids": np.arange(1, 7)}
    saved(run / "embeddings.npz", **own, protocol=np.array("{}"))
    assert "3 image, 5 caption" in export(run, tmp_path / "r.parquet")  # the sixth text is no caption
    table = pq.read_table(tmp_path / "r.parquet")
    assert table["id"].to_pylist() == ["a photo", "x", "y", "x#1", "y#0", "a photo#0", "a photo#1", "a photo#2"]


def test_what_has_no_vectors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").touch()
    with pytest.raises(ConfigError, match=r"a model has no vectors of its own; give embeddings/METHOD/seedN"):
        export(tmp_path, tmp_path / "x.parquet")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(DataError, match=r"folder\.parquet: cannot be written, it is a folder"):
        export(tmp_path, tmp_path / "folder.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_embeddings": IMAGE[:, :4]}, "embeddings of widths 4, 5 cannot be one column"),
        ({"image_embeddings": IMAGE * np.nan}, r"x\.npz: image_embeddings: 3 of 3 rows hold NaN"),
        ({"image_ids": np.array(["x", "x", "y"])}, r"image_ids: 1 ids occur more than once \(x\)"),
        ({"caption_image_ids": OWNERS[:5]}, "caption_image_ids: 5 ids for 6 rows"),
        ({"image_ids": None}, "images have ids and captions none, or the reverse"),
        ({"image_embeddings": None, "caption_embeddings": None}, r"x\.npz: no vectors; it holds caption_ids, "),
    ],
)
def test_damaged_vectors_are_refused(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: values for name, values in (PAIRS | change).items() if values is not None}
    source = saved(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        export_vectors(source, tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
