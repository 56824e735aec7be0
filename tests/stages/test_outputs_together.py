"""The outputs of a stage appear together or not at all: its last file fails, and what was there before is unchanged."""

from __future__ import annotations

import errno
import hashlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage_project import make, stages

from itm.data.files import atomic_path, together, whereabouts, write_json
from itm.errors import DataError
from itm.stages.harness import guarded

STAGES = stages("clip")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder in which every stage has run once; the present one."""
    root = tmp_path_factory.mktemp("together")
    make(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield


def sums(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_fails_in_the_end_changes_nothing(name: str, project: None, tmp_path, monkeypatch) -> None:
    calls, last = [], []

    def full(size: int) -> str:
        calls.append(size)
        if last and len(calls) == last[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return f"{len(calls):0{2 * size}x}"

    monkeypatch.setattr(secrets, "token_hex", full)  # each file's temporary name asks for it once
    STAGES[name](tmp_path)
    for file in sums(tmp_path):
        (tmp_path / file).write_text(f"{file} as it was")
    before = sums(tmp_path)
    last.append(len(calls))
    calls.clear()
    with pytest.raises(OSError, match="No space left"):
        STAGES[name](tmp_path)
    assert sums(tmp_path) == before


def test_a_folder_in_the_place_of_a_file_is_met_before_any_file_changes(tmp_path) -> None:
    write_json(tmp_path / "a.json", 1)
    (tmp_path / "b.json").mkdir()

    @together()
    def write() -> None:
        for name in ("a", "b"):
            write_json(tmp_path / f"{name}.json", 2)

    with pytest.raises(DataError, match="it is a folder"):
        write()
    assert (tmp_path / "a.json").read_text() == "1\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.json"}


def test_the_last_of_two_versions_counts_and_is_found_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with together():
        with together():
            for number in (1, 2):
                write_json("a.json", number)
        assert whereabouts(Path("a.json")).read_text() == "2\n"
        assert not Path("a.json").exists()
    assert whereabouts(Path("a.json")) == Path("a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert Path("a.json").read_text() == "2\n"


def test_a_stage_stopped_from_outside_leaves_nothing(tmp_path) -> None:
    def stop() -> None:
        with together(), atomic_path(tmp_path / "a") as temporary:
            temporary.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (IsADirectoryError(21, "Is a directory", "out"), "itm x: out: is a directory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "itm x: a text is not in the encoding"),
        (EOFError(), "itm x: a damaged file: it ends too soon"),
    ],
)
def test_no_stage_ends_in_a_traceback_that_no_change_of_code_would_mend(error, message, capsys) -> None:
    with pytest.raises(SystemExit), guarded("x"):
        raise error
    assert capsys.readouterr().err.startswith(message)
    assert sys.exc_info()[0] is None
