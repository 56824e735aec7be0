"""What machines do to commands: signals, file systems without locks, files that cannot be read or written."""

from __future__ import annotations

import ast
import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import pytest

from itm import cli
from itm.errors import PipelineError, ProjectError
from itm.faults import message_of
from itm.pipeline.presence import RECORDS, this
from itm.runs.storage.cache import read_cache
from itm.runs.storage.clear import _alone, clear

ROOT = Path(__file__).parents[2]
FAULTS = [
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"), "a.csv: no such file or directory"),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "out"), "out: is a directory"),
    (PermissionError(errno.EACCES, "Permission denied", "x"), "x: permission denied; make it accessible to you"),
    (OSError(errno.ENOSPC, "No space left on device", "x"), "x: the disk is full"),
    (OSError(errno.ENOLCK, "No locks available"), "no locks available"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "not in the encoding that it should have"),
    (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "not in the encoding"),
    (zipfile.BadZipFile("Bad magic number"), "a damaged file: Bad magic number"),
    (zlib.error("Error -3"), "a damaged file: Error -3"),
    (EOFError(), "a damaged file: it ends too soon"),
    (FileNotFoundError(errno.ENOENT, "No such file", "a" * 3000), "aaaa"),
]


@pytest.mark.parametrize(("error", "said"), FAULTS, ids=lambda each: type(each).__name__)
def test_no_command_ends_in_a_traceback_for_it(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["itm", "runs"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert told.startswith("itm: ")
    assert said in told
    assert len(told) < 1000


@pytest.mark.parametrize("error", [KeyError("a"), ValueError("x"), ModuleNotFoundError("no", name="itm.nothing")])
def test_a_fault_of_the_code_keeps_its_traceback(error: Exception) -> None:
    assert message_of(error) is None


def test_without_locks_nothing_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(PipelineError, match=r"cannot be locked .*nothing was deleted"), _alone(tmp_path):
        pytest.fail("deleted")


def test_beside_a_run_of_another_host_nothing_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / RECORDS / "0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(this("the stage train")) | {"host": "node7", "boot": "another"}))
    with (
        pytest.raises(PipelineError, match=r"1 run.*train on host node7, .*0\.json.*nothing was deleted") as caught,
        _alone(tmp_path),
    ):
        pytest.fail("deleted")
    assert caught.value.reason == "running"


def test_while_dvc_has_its_lock_nothing_is_deleted(tmp_path: Path) -> None:
    """It has it between two stages, when nothing else tells of it."""
    from dvc.repo import Repo

    Repo.init(str(tmp_path), no_scm=True).close()
    unused = tmp_path / ".dvc/cache/files/md5/ab" / ("0" * 30)
    unused.parent.mkdir(parents=True)
    unused.write_text("x")
    cache = read_cache(tmp_path)
    with (tmp_path / ".dvc/tmp/lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PipelineError, match=r"another DVC command is at work here; .*; nothing was deleted"):
            cache.collect()
        with pytest.raises(PipelineError, match=r"\.dvc/tmp/lock is locked.*nothing was deleted"):
            clear(tmp_path, days=0, apply=True)
    assert unused.exists()
    cache.collect()
    assert not unused.exists()


KILLED = """
import os, pathlib, signal
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
from itm.cli import main
main()
"""


@pytest.mark.slow
def test_a_command_that_is_ended_leaves_what_was_there(tmp_path: Path) -> None:
    """At the worst moment: when all is written, and takes its name."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_text("seeds: [0]")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", KILLED, "preset", "scenes-smoke"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGTERM
    assert (tmp_path / "params.yaml").read_text() == "seeds: [0]"
    (left,) = (path.name for path in tmp_path.iterdir() if path.name not in ("conf", "params.yaml"))
    assert left.startswith(".params.")  # git and DVC ignore it
    command = [sys.executable, "-m", "itm.cli", "preset", "scenes-smoke"]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "params.yaml"]


# files that are written in place: beside the final one, or where nothing stands yet
IN_PLACE = {
    "config/document.py": "the page that a developer regenerates",
    "config/project.py": "a new folder",
    "data/download.py": "beside the file: a copy in .incomplete",
    "data/http.py": "beside the file: a download that goes on",
    "data/images.py": "a shard, under its temporary name",
    "data/files.py": "what gives the temporary names",
    "runs/storage/clear.py": "a lock, of which nothing is written",
    "pipeline/doctor.py": "dvc.lock from git, which the doctor can write again",
    "pipeline/presence.py": "a record under its temporary name",
    "pipeline/run.py": "dvc.lock, under its temporary name",
    "descriptions/journal.py": "a journal that only grows",
    "text/stream.py": "a scratch file",
}
WRITES = re.compile(r"\.write_(?:text|bytes)\(|\.open\(\"(?:w|r\+|a)|open\([^)]*\"[wa]b?\"")


def test_everything_else_is_written_under_a_temporary_name() -> None:
    found = {}
    for path in sorted((ROOT / "src/itm").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        bad = [line.strip() for line in lines if WRITES.search(line) and "temporary" not in line]
        if bad and path.relative_to(ROOT / "src/itm").as_posix() not in IN_PLACE:
            found[path.name] = bad
    assert found == {}


def test_every_table_has_checksums_and_every_reader_compares_them() -> None:
    """Else a flipped bit in a table would be a figure."""
    found, needed = [], {"ParquetFile": "page_checksum_verification"}
    for path in sorted((ROOT / "src/itm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name, words = node.func.attr, {each.arg or ast.unparse(each.value) for each in node.keywords}
                if name == "to_parquet" or ast.unparse(node.func.value) == "pq":
                    found += [(path.name, name)] * (needed.get(name, "PARQUET") not in words)
    assert found == []


def test_tokens_of_another_type_are_refused_and_not_taken_for_zeros(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from itm.features import read_features

    path = tmp_path / "images.safetensors"
    save_file({"pooles": np.ones((1, 2), np.float32)}, path, metadata={"towers": "{}"})
    with pytest.raises(ProjectError, match=r"cannot be read .*pooled"):  # and not: towers are trained
        read_features(path)
    tensors = {"pooled": np.ones((1, 2), np.float32), "first": np.array([0, 1]), "tokens": np.ones((1, 3), np.float32)}
    save_file(tensors, path, metadata={"towers": "{}"})
    with pytest.raises(ProjectError, match=r"cannot be read .tokens are F32, not F16.; run `dvc repro features`"):
        read_features(path, tokens=True)
