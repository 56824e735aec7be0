"""DVC's record of paths in use is the old one or the new one, whenever its writer is killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from itm.pipeline.lockfile import WholeFiles

EDIT = """
import json, os, sys
from dvc import rwlock
from dvc.fs import localfs
from itm.pipeline.lockfile import replace_as_a_whole
if sys.argv[2] == "whole":
    replace_as_a_whole()
    replace_as_a_whole()
dump = json.dump
def killed(record, file):
    file.write('{"write"')
    file.flush()
    os.kill(os.getpid(), 9)
with rwlock.rwlock(sys.argv[1], localfs, "one", ["/a"], ["/b"], False):
    rwlock.json.dump = killed
"""


def record_after_a_kill(folder: Path, how: str) -> str:
    done = subprocess.run([sys.executable, "-c", EDIT, str(folder), how], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    return (folder / "rwlock").read_text()


def test_a_writer_that_is_killed_leaves_the_old_record(tmp_path: Path) -> None:
    record = json.loads(record_after_a_kill(tmp_path, "whole"))
    assert list(record["write"]) == ["/b"]
    assert list(record["read"]) == ["/a"]
    assert record["write"]["/b"]["cmd"] == "one"


def test_without_it_the_record_is_torn(tmp_path: Path) -> None:
    assert record_after_a_kill(tmp_path, "in place") == '{"write"'


def test_all_but_writing_is_left_to_dvc(tmp_path: Path) -> None:
    from dvc.fs import localfs

    files = WholeFiles(localfs)
    assert files.join("a", "b") == localfs.join("a", "b")
    path = tmp_path / "file"
    path.write_text("old")
    with files.open(str(path), encoding="utf-8") as file:
        assert file.read() == "old"
    with pytest.raises(UnicodeEncodeError), files.open(str(path), "w", encoding="ascii") as file:
        file.write("new, but é")
    assert path.read_text() == "old"
    with files.open(str(path), "w", encoding="utf-8") as file:
        file.write("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
