"""Files are whole or not there, and what killed writers left is cleared."""

import os
import subprocess
from pathlib import Path

import pytest

from itm.data.files import atomic_path, leftovers, write_json


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
    assert all({".*.part", ".*.part.*"} <= set(text) for text in lines.values())
