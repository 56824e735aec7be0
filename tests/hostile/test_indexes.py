"""Index files that were changed, cut or put together: refused in one message before usearch reads a byte of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm.errors import DataError
from itm.index import vectors as module
from itm.index.graph import build_graph
from itm.index.vectors import FORMAT, Facts, map_arrays, open_index, write_arrays, write_index

FACTS = Facts("0" * 64, "clip, seed 0", "dot", "photos", "models/clip/seed0")
ROWS, WIDTH = 300, 4


def drawn(seed: int, rows: int = ROWS, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two indexes with graphs, alike in all but their vectors. Read only."""
    folder = tmp_path_factory.mktemp("indexes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_EXACT_BELOW", 1)
        for seed in (0, 1):
            write_index(folder / str(seed), [f"{row}.jpg" for row in range(ROWS)], drawn(seed), FACTS)
    return [folder / "0", folder / "1"]


def refused(path: Path, message: str | None = None) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_index(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert said.endswith("write it again with `itm index`")
    assert len(said) < 1000


def test_any_changed_byte_is_noticed(two: list[Path], tmp_path: Path) -> None:
    """Every byte of the header, and 200 of names, vectors and graph."""
    content = two[0].read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    rest = np.random.default_rng(0).choice(np.arange(start, len(content)), 200, replace=False).tolist()
    for place in [*range(start), *rest]:
        changed = bytearray(content)
        changed[place] ^= 0xFF
        (tmp_path / "x.index").write_bytes(changed)
        refused(tmp_path / "x.index")


@pytest.mark.parametrize("kept", [0, 7, 8, 200, 0.1, 0.5, 0.99, -1])
def test_a_cut_index_is_noticed(two: list[Path], tmp_path: Path, kept: float) -> None:
    content = two[0].read_bytes()
    (tmp_path / "x.index").write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    refused(tmp_path / "x.index", "not an index, or damaged")


def test_an_index_with_the_contents_of_another_is_noticed(two: list[Path], tmp_path: Path) -> None:
    one, other = (path.read_bytes() for path in two)
    start = 8 + int.from_bytes(one[:8], "little")
    assert len(one) == len(other)
    for cut in (start, (start + len(one)) // 2):
        (tmp_path / "x.index").write_bytes(one[:cut] + other[cut:])
        refused(tmp_path / "x.index", "its bytes are not those that were written")


def text(names: str) -> np.ndarray:
    return np.frombuffer(names.encode(), np.uint8)


PARTS = {
    "a graph of fewer rows": ({"graph": build_graph(drawn(0)[1:], 1)}, "its graph is of 299 x 5 values, not 300 x 5"),
    "a graph of another width": ({"graph": build_graph(drawn(0, width=3), 1)}, "300 x 4 values, not 300 x 5"),
    "no graph": ({"graph": text("nothing of the kind" * 99)}, "no graph"),
    "an empty graph": ({"graph": text("")}, "graph"),
    "a name too few": ({"names": text('["a"]')}, "1 names for 300 vectors"),
    "names that are numbers": ({"names": text("[" + "1," * 299 + "1]")}, "the names are no list of texts"),
    "names by key": ({"names": text('{"a": 1}')}, "the names are no list of texts"),
    "names that are no JSON": ({"names": text("a.jpg")}, "damaged"),
    "deep names": ({"names": text("[" * 200_000)}, "damaged"),
    "flat vectors": ({"vectors": drawn(0).reshape(-1)}, r"the vectors have shape \(1200,\)"),
    "vectors of bytes": ({"vectors": np.zeros((ROWS, WIDTH), np.uint8)}, "type uint8"),
}


@pytest.mark.parametrize("kind", PARTS)
def test_parts_that_do_not_belong_together(two: list[Path], tmp_path: Path, kind: str) -> None:
    """Written as an index is, with a SHA-256 that is right."""
    arrays, _ = map_arrays(two[0])
    parts, message = PARTS[kind]
    write_arrays(tmp_path / "x.index", arrays | parts, {"format": FORMAT, **vars(FACTS)})
    refused(tmp_path / "x.index", message)


def test_facts_and_versions(two: list[Path], tmp_path: Path) -> None:
    arrays, _ = map_arrays(two[0])
    for facts, message in (({}, "of this version"), ({"format": FORMAT}, "does not say which model made it")):
        write_arrays(tmp_path / "x.index", arrays, facts)
        refused(tmp_path / "x.index", message)


@pytest.mark.parametrize("header", [b"[" * 60_000, b"[]", b"3", b'{"__metadata__": []}', b'{"__metadata__": 3}', b"{}"])
def test_headers_that_are_none(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "x.index").write_bytes(len(header).to_bytes(8, "little") + header + bytes(999))
    refused(tmp_path / "x.index", "not an index")


def test_a_folder_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    facts = Facts("0" * 64, "clip, seed 0", "dot", "photos \udcff", "models")
    write_index(tmp_path / "x.index", ["bad \udcff.png"], np.ones((1, 2), np.float32), facts)
    assert open_index(tmp_path / "x.index").facts == facts
