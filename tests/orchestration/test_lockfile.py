"""What is written into dvc.lock is, byte for byte, what DVC would write; DVC's record of paths in use is the old or the
new one, whenever its writer is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, loads_yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from itm.pipeline.lockfile import WholeFiles, with_entry

ROOT = Path(__file__).parents[2]
HEAD = "schema: '2.0'\nstages:\n"
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


def written(stages: dict[str, Any]) -> str:
    """dvc.lock as DVC writes it."""
    text: str = dumps_yaml({"schema": "2.0", "stages": stages})
    return text


def by_dvc(text: str, stages: dict[str, Any]) -> str:
    """As DVC's Lockfile.dump_stages: read with all that is written there, change one entry, write all."""
    data = loads_yaml(text, typ="rt")
    data["stages"].update(stages)
    return str(dumps_yaml(data))


@pytest.mark.slow
def test_each_stage_of_the_committed_file_is_replaced_added_and_left_alone() -> None:
    text = (ROOT / "dvc.lock").read_text(encoding="utf-8")
    stages = YAML(typ="safe").load(StringIO(text))["stages"]
    for name, entry in list(stages.items())[::9]:
        assert with_entry(text, written({name: entry})) == text
        changed = {name: {**entry, "cmd": "python -m other 'and a long command '" + " --option value" * 30}}
        assert with_entry(text, written(changed)) == by_dvc(text, changed)
    new = {"train@other-7": next(iter(stages.values()))}
    assert with_entry(text, written(new)) == by_dvc(text, new)


names = st.one_of(
    st.from_regex(r"[a-z]+(@[a-z0-9.-]+)?", fullmatch=True),
    st.sampled_from(["on", "1", "1.5", "null", "a: b", "'quoted'", "x #y", "- a", "ä@é", "train@clip-0"]),
)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=100)
# of some floats DVC's own reading and writing loses the last digit
values = st.one_of(words, st.sampled_from([0.5, 1e-05, -3.0]), st.booleans())
entries = st.fixed_dictionaries(
    {"cmd": words, "deps": st.lists(st.fixed_dictionaries({"path": words, "size": st.integers(0, 9)}), max_size=3)},
    optional={"params": st.dictionaries(words, values, max_size=3)},
)


@pytest.mark.slow
@given(st.dictionaries(names, entries, min_size=1, max_size=4), names, entries)
def test_any_entry_is_written_as_dvc_does(stages: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    text = written(stages)
    found = with_entry(text, written({name: entry}))
    assert found is None or found == by_dvc(text, {name: entry})
    if all(key.isascii() and key.replace("@", "").replace("-", "").isalpha() for key in (*stages, name)):
        assert found is not None or "on" in {*stages, name}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages:\n  a:\n    cmd: x\n",
        HEAD + "  a:\n    cmd: x",
        HEAD + "  a:\n    cmd: x\ndatasets: []\n",
        HEAD + "<<<<<<< HEAD\n  a:\n    cmd: x\n",
        HEAD + "  a:\n    cmd: x\n# mine\n  b:\n    cmd: y\n",
        HEAD + "  # mine\n  b:\n    cmd: y\n",
        HEAD + "  a: {cmd: x}\n",
        HEAD + "  a:\n    cmd: x\n  a:\n    cmd: y\n",
        HEAD + "    cmd: x\n",
        (HEAD + "  a:\n    cmd: x\n").replace("\n", "\r\n"),
        "schema: '2.0'\nstages: {}\n",
    ],
)
def test_what_dvc_did_not_write_is_left_to_dvc(text: str) -> None:
    assert with_entry(text, HEAD + "  a:\n    cmd: z\n") is None


def test_a_file_without_a_stage_gets_its_first() -> None:
    entry = HEAD + "  a:\n    cmd: z\n"
    assert with_entry(HEAD, entry) == entry


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
