from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm.config.data import ScenesParameters
from itm.data.scenes import read_scenes, write_images, write_scenes
from itm.data.scenes.files import png
from itm.data.scenes.generate import all_scenes
from itm.data.scenes.render import render
from itm.errors import DataError

#: Of the `small` parameters; a change of the generator, of the words or of the renderer changes the data set.
SCENES_HASH = "2628736ed48dc7795e67a6139b1981c3d8f8d356548c0ea1af9f58318dab8d1a"
PIXELS_HASH = "9b5c6676ec096f90a4140e06d00caf65859db85973113255ee1c9b839422c9ff"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_read_is_what_was_written(small: ScenesParameters, small_file: Path) -> None:
    assert list(read_scenes(small_file)) == list(all_scenes(small))


def test_the_data_set_of_a_seed_is_fixed(small: ScenesParameters, small_file: Path) -> None:
    assert sha256(small_file.read_bytes()) == SCENES_HASH
    pixels = (render(scene, 64, 0.04, 0).tobytes() for scene in all_scenes(small, captions=False))
    assert sha256(b"".join(pixels)) == PIXELS_HASH


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_hash_seed(small: ScenesParameters, small_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from itm.config.data import ScenesParameters as P; from itm.data.scenes import *;"
        "p = P.model_validate_json(sys.argv[1]); write_scenes(p, 'a.jsonl'); write_images(p, 'a.tar')"
    )
    command = [sys.executable, "-c", code, small.model_dump_json()]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True)
    assert (tmp_path / "a.jsonl").read_bytes() == small_file.read_bytes()
    write_images(small, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_the_tar_holds_every_picture_and_no_trace_of_when_and_who(small: ScenesParameters, tmp_path: Path) -> None:
    write_images(small, tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [f"{scene.image_id}.png" for scene in all_scenes(small)]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
        first = tar.extractfile(members[0])
        assert first is not None
        image = Image.open(io.BytesIO(first.read()))
        expected = render(next(all_scenes(small)), 64, 0.04, 0)
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 2, 3), (64, 64, 3)])
def test_png_is_lossless(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Image.open(io.BytesIO(png(pixels)))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_nothing_is_left_when_writing_fails(
    small: ScenesParameters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk")

    monkeypatch.setattr("itm.data.scenes.files.render", fail)
    with pytest.raises(RuntimeError):
        write_images(small, tmp_path / "images.tar")
    assert list(tmp_path.iterdir()) == []


def changed(line: str, *keys: object, to: object) -> str:
    """The line with the value at a path of keys replaced, or removed when `to` is ..."""
    values = json.loads(line)
    part = values
    for key in keys[:-1]:
        part = part[key]
    if to is ...:
        del part[keys[-1]]
    else:
        part[keys[-1]] = to
    return json.dumps(values)


BAD_LINES = [
    (lambda line: line[:-5], "line 3: not valid JSON"),
    (lambda line: "[1]", "line 3: a value of the wrong type"),
    (lambda line: changed(line, "captions", to=...), "line 3: missing key 'captions'"),
    (lambda line: changed(line, "captions", to=[]), "line 3: no caption"),
    (lambda line: changed(line, "captions", 0, "requirement", to=...), "line 3: missing key 'requirement'"),
    (lambda line: changed(line, "image_id", to=7), "line 3: image_id 7"),
    (lambda line: changed(line, "split", to="tset"), "line 3: split 'tset' is not known; did you mean 'test'?"),
    (lambda line: changed(line, "background", to="green"), "line 3: background 'green' is not known"),
    (lambda line: changed(line, "objects", to=[]), "line 3: 0 objects; a scene has 1 to 4"),
    (lambda line: changed(line, "objects", 0, "shape", to="sqare"), "line 3: shape 'sqare' .* did you mean 'square'"),
    (lambda line: changed(line, "objects", 0, "colour", to=3), "line 3: colour 3 is not known; known: red"),
    (
        lambda line: changed(line, "objects", 0, "x", to=0.5),
        "line 3: x = 0.5; a position is a whole number",
    ),
    (lambda line: changed(line, "objects", 0, "z", to=1), "line 3: a value of the wrong type: .*'z'"),
    (
        lambda line: changed(line, "captions", 0, "requirement", "objects", to=[{"weight": "1"}]),
        "line 3: requirement: unknown attribute 'weight'",
    ),
    (
        lambda line: changed(line, "captions", 0, "requirement", "objects", to=[{}] * 5),
        "line 3: requirement: 5 slots; a requirement has 1 to 4",
    ),
    (
        lambda line: changed(line, "captions", 0, "requirement", "relations", to=[[0, "left of", 7]]),
        "line 3: requirement: relation .* must join two of slots 0 to",
    ),
    (
        lambda line: changed(line, "captions", 0, "requirement", "relations", to=[[0, "lef of", 0]]),
        "line 3: requirement: relation 'lef of' is not known; did you mean 'left of'",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_LINES)
def test_a_bad_line_is_named(small_file: Path, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    lines = small_file.read_text(encoding="utf-8").splitlines()
    lines[2] = change(lines[2])
    bad = tmp_path / "scenes.jsonl"
    bad.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(read_scenes(bad))


def test_a_repeated_image_and_a_missing_file_are_named(small_file: Path, tmp_path: Path) -> None:
    lines = small_file.read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "scenes.jsonl"
    bad.write_text("\n".join([*lines, lines[4]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 121: image_id 'train-000004' is already on line 5"):
        list(read_scenes(bad))
    with pytest.raises(DataError, match="no such file; run the download stage"):
        list(read_scenes(tmp_path / "none.jsonl"))


def test_scenes_are_read_and_written_one_at_a_time(small: ScenesParameters, tmp_path: Path) -> None:
    path = tmp_path / "new" / "scenes.jsonl"
    told: list[tuple[int, int]] = []
    write_scenes(small, path, lambda done, total: told.append((done, total)))
    assert told == [(done, 120) for done in range(1, 121)]
    stream = read_scenes(path)
    assert next(stream).image_id == "train-000000"
