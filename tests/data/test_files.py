"""Files are whole or not there, and what killed writers left is cleared."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from itm.data.files import atomic_path, leftovers, write_json, write_npz


@pytest.fixture
def gone() -> int:
    """A process number that is not in use."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)

    def fail() -> None:
        with atomic_path(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way") as caught:
        fail()
    assert caught.value.__notes__ == [f"while writing {tmp_path / 'a.json'}"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "1\n"


def test_what_a_killed_process_left_of_a_file_goes_when_the_file_is_written_again(tmp_path: Path, gone: int) -> None:
    own = f".a.{gone}-0123abcd.part.json"
    kept = {f".b.{gone}-0123abcd.part.json", f".a.{os.getpid()}-0123abcd.part.json", ".a.json", f".a.{gone}.json"}
    for name in {own, *kept}:
        (tmp_path / name).write_text("half")
    assert {file.name for file in leftovers(tmp_path)} == {own, f".b.{gone}-0123abcd.part.json"}
    write_json(tmp_path / "a.json", 1)
    assert {file.name for file in tmp_path.iterdir()} == {"a.json", *kept}


@pytest.mark.parametrize("name", ["weights.safetensors", "noend", "two.dots.tar", "(odd)[name].json"])
def test_the_temporary_name_keeps_the_suffix_and_is_ignored_by_git_and_dvc(name: str, tmp_path: Path) -> None:
    import pathspec

    ignored = pathspec.PathSpec.from_lines("gitignore", [".*.part", ".*.part.*"])
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("x")
        assert temporary.suffix == (Path(name).suffix or ".part")
        assert ignored.match_file(temporary.name)
    assert not ignored.match_file(name)
    lines = {file: (Path(__file__).parents[2] / file).read_text().splitlines() for file in (".gitignore", ".dvcignore")}
    assert all({".*.part", ".*.part.*", ".*.tmp"} <= set(text) for text in lines.values())


ARRAYS = {
    "ids": np.array(["a", "bcd"]),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "format": b"csr",
    "flag": True,
    "none": np.zeros((0, 4), np.int64),
    "protocol": '{"seed": 0}',
}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored.files == list(ARRAYS)
        for name, values in ARRAYS.items():
            expected = np.asarray(values)
            assert (stored[name].dtype, stored[name].shape) == (expected.dtype, expected.shape)
            assert (stored[name] == expected).all()


def test_equal_arrays_give_equal_bytes_with_every_python_and_zlib(tmp_path: Path) -> None:
    """The sum was taken with Python 3.11.2 and 3.11.7, between which numpy's own archives differ."""
    write_npz(tmp_path / "a.npz", ARRAYS)
    content = (tmp_path / "a.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == "e3dadef2279b1ac0fd4a4fa65fea3711cd05caba94951de8b2573515e5436a60"
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        for entry in archive.infolist():
            assert (entry.compress_type, entry.extra, entry.date_time) == (
                zipfile.ZIP_STORED,
                b"",
                (1980, 1, 1, 0, 0, 0),
            )


def test_an_array_of_objects_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz(tmp_path / "a.npz", {"fine": np.zeros(2), "bad": np.array([{}, None])})
    assert list(tmp_path.iterdir()) == []


def test_only_an_array_beyond_two_gigabytes_makes_zip64(tmp_path: Path) -> None:
    """Said by the size beforehand: found out while writing, zipfile would stop with half a file."""
    code = (
        "import sys, zipfile; zipfile.ZIP64_LIMIT = 1000; import numpy as np; from itm.data.files import write_npz;"
        "write_npz(sys.argv[1], {'large': np.arange(200.0), 'small': np.arange(3)})"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.npz"], check=True)
    with np.load(tmp_path / "a.npz") as stored:
        assert (stored["large"] == np.arange(200.0)).all()
        assert (stored["small"] == np.arange(3)).all()
