"""Where results cannot go: said before the work begins, and what is written appears together or not at all."""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itm import cli
from itm.data.files import check_outputs, mirror_folder, write_json
from itm.errors import DataError
from itm.evaluation.result import Result, write_together
from itm.text import bulk

# the inputs are nowhere: what is told first is the output
COMMANDS = [
    "compare no no --out",
    "evaluate --benchmark pairs --embeddings no --out",
    "evaluate --benchmark pairs --embeddings no --ranks",
    "ensemble no no --out",
    "transfer no --data no --out",
    "diagnose ditm --params no --out",
    "report --compare no no --out",
    "index no --images no --out",
    "grade fit --embeddings no --captions no --out",
    "grade apply --grade no --embeddings no --captions no --out",
]
BAD = {
    "folder": "cannot be written, it is a folder; name a file in it",
    "/dev/full": "cannot be written, it is a device; name a file",
    "file/x.json": "cannot be written (not a directory); name a file in a folder that you may write to",
    "/proc/x.json": "cannot be written (no such file or directory); name a file in a folder",
    f"{'x' * 300}.json": "name too long",
}


def told(run: Callable[[], None], capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one message with which a command ends."""
    sys.argv[:] = ["itm", *words]
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 1
    found = capsys.readouterr().err
    assert len(found) < 1000
    return found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_said_before_the_work(command: str, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = told(cli.main, capsys, *command.split(), bad)
    assert BAD[bad] in message
    assert bad[:20] in message


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("ensemble no no --evaluations file", "file/seed: cannot be written (not a directory)"),
        ("transfer no --data no --evaluations file", "file/seed: cannot be written (not a directory)"),
        ("import vsd-arrays no --out file", "descriptions.jsonl: cannot be written (not a directory)"),
        ("evaluate --benchmark pairs --embeddings no --out a --ranks a", "a: two results cannot go to one file"),
    ],
)
def test_folders_and_files_of_two_results(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in told(cli.main, capsys, *command.split())


def test_bulk_scoring_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert "it is a folder" in told(bulk.main, capsys, "run", "no.parquet", "--out", "folder")


def test_a_check_leaves_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    check_outputs(tmp_path / "new/deep/x.json", None, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_device_stays_a_device() -> None:
    """A file that takes its name would break every program that writes to it."""
    with pytest.raises(DataError, match="it is a device"):
        write_json("/dev/full", {})
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def pairs(path: Path) -> Path:
    vectors, ids = np.eye(4), np.arange(4)
    np.savez(
        path,
        image_ids=ids,
        image_embeddings=vectors,
        caption_ids=ids,
        caption_embeddings=vectors,
        caption_image_ids=ids,
    )
    return path


def test_what_cannot_be_written_is_printed_and_neither_file_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full when the second of two files is written."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    words = ["evaluate", "--benchmark", "pairs", "--embeddings", str(pairs(tmp_path / "e.npz"))]
    sys.argv[:] = ["itm", *words, "--out", "m.json", "--ranks", "r.parquet"]
    with pytest.raises(SystemExit):
        cli.main()
    printed = capsys.readouterr()
    assert "pairs/rsum             600.0000" in printed.out
    assert "r.parquet: the disk is full" in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.npz", "file", "folder"]


def test_files_of_several_results_appear_together(tmp_path: Path) -> None:
    good = Result({}, {"a": np.zeros(1)}, {})
    bad = Result({}, {"a": np.array([object()])}, {"no json": object()})
    with pytest.raises(TypeError):
        write_together({tmp_path / "x/a.npz": good, tmp_path / "x/b.npz": bad}, {}, tmp_path / "m.json")
    assert list((tmp_path / "x").iterdir()) == []
    write_together({tmp_path / "x/a.npz": good}, {"b": 1}, tmp_path / "m.json")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.npz"]


@pytest.mark.parametrize(("value", "said"), [("nowhere", "no such folder"), ("file", "no such folder")])
def test_a_mirror_that_cannot_be_read(
    value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ITM_MIRROR", value)
    message = told(
        cli.main, capsys, "evaluate", "--benchmark", "flickr30k", "--embeddings", str(pairs(tmp_path / "e.npz"))
    )
    assert f"ITM_MIRROR={value}: {said}; correct it" in message


def test_a_mirror_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setenv("ITM_MIRROR", "folder")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="ITM_MIRROR=folder: permission denied; correct it"):
        mirror_folder()
