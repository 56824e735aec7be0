"""Vectors, graph and file: the same answers as by looking at everything; damaged and foreign files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.errors import DataError
from itm.index import vectors as module
from itm.index.vectors import Facts, VectorIndex, open_index, write_index

FACTS = Facts("0" * 64, "clip, seed 0", "dot", "photos", "models/clip/seed0")


def rows_by_argsort(vectors: np.ndarray, query: np.ndarray, count: int) -> list[int]:
    scores = vectors @ query
    return sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:count]


def test_a_hand_checked_search():
    index = VectorIndex(["a", "b", "c"], np.array([[1, 0], [0, 2], [3, 0]], np.float32), FACTS)
    rows, scores = index.search(np.array([1.0, 0.0]), 2)
    assert rows.tolist() == [2, 0]
    assert scores.tolist() == [3.0, 1.0]


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_exact_search_is_a_sort(count: int, wanted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (count, 3)).astype(np.float32)  # small integers: many ties
    query = rng.integers(-2, 3, 3).astype(np.float32)
    found, scores = VectorIndex([""] * count, vectors, FACTS).search(query, wanted, exact=True)
    assert found.tolist() == rows_by_argsort(vectors, query, wanted)
    assert np.array_equal(scores, vectors[found] @ query)


def test_exact_search_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    vectors = np.random.default_rng(0).integers(0, 3, (50, 2)).astype(np.float32)
    index = VectorIndex([""] * 50, vectors, FACTS)
    assert index.search(np.ones(2), 20)[0].tolist() == rows_by_argsort(vectors, np.ones(2), 20)


@pytest.mark.parametrize("lengths", ["unit", "different"])
def test_the_graph_finds_what_exact_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: str) -> None:
    """Also where long vectors win over near ones: the graph searches inner products, not angles."""
    monkeypatch.setattr(module, "_EXACT_BELOW", 1)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2000, 8)).astype(np.float32)
    if lengths == "unit":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"image {row}" for row in range(2000)]
    write_index(tmp_path / "x.index", names, vectors, FACTS)
    index = open_index(tmp_path / "x.index")
    assert index.graph is not None
    hits = 0
    for query in rng.standard_normal((50, 8)).astype(np.float32):
        near, scores = index.search(query, 10)
        exact, _ = index.search(query, 10, exact=True)
        hits += len(np.intersect1d(near, exact))
        assert np.allclose(scores, vectors[near] @ query)
        assert (np.diff(scores) <= 0).all()
    assert hits / 500 >= 0.99


def test_names_and_facts_survive(tmp_path: Path) -> None:
    names = ['it\'s a "photo".png', "مرحبا 🙂.jpg", "bad \udcff name.png"]
    write_index(tmp_path / "x.index", names, np.eye(3, dtype=np.float32), FACTS)
    index = open_index(tmp_path / "x.index")
    assert list(index.names) == names
    assert index.facts == FACTS
    assert index.graph is None
    assert [path.name for path in tmp_path.iterdir()] == ["x.index"]


def test_equal_vectors_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT_BELOW", 1)
    vectors = np.random.default_rng(2).standard_normal((300, 4)).astype(np.float32)
    for name in ("a", "b"):
        write_index(tmp_path / name, [str(row) for row in range(300)], vectors, FACTS, threads=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    vectors = np.random.default_rng(3).standard_normal((5, 4)).astype(np.float32)
    write_index(tmp_path / "x.index", list("abcde"), vectors, FACTS)
    assert np.array_equal(load_file(tmp_path / "x.index")["vectors"], vectors)


def test_a_failed_write_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    write_index(path, ["a"], np.ones((1, 2), np.float32), FACTS)
    before = path.read_bytes()
    for names, vectors, message in (
        (["a"], np.array([[np.nan, 1]], np.float32), "not all finite"),
        (["a", "b"], np.ones((1, 2), np.float32), "2 names for 1 vectors"),
        ([], np.ones((0, 2), np.float32), "0 names for 0 vectors"),
    ):
        with pytest.raises(DataError, match=message):
            write_index(path, names, vectors, FACTS)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.index"
    write_index(path, list("abc"), np.eye(3, dtype=np.float32), FACTS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="itm index"):
        open_index(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(DataError, match="no such file"):
        open_index(tmp_path / "missing")
    (tmp_path / "text").write_text("a picture of a dog, and more of it than a header would need\n" * 100)
    with pytest.raises(DataError, match="not an index"):
        open_index(tmp_path / "text")
    save_file({"vectors": np.eye(2, dtype=np.float32)}, tmp_path / "other", metadata={"format": "np"})
    with pytest.raises(DataError, match="not an index of this version"):
        open_index(tmp_path / "other")


@pytest.mark.parametrize(
    ("query", "message"), [([1.0, 0.0, 0.0], "the index dimension 2"), ([np.inf, 0.0], "not finite")]
)
def test_bad_queries(query: list[float], message: str) -> None:
    index = VectorIndex(["a"], np.ones((1, 2), np.float32), FACTS)
    with pytest.raises(DataError, match=message):
        index.search(np.array(query), 1)
