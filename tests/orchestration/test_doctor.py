"""What a crash leaves behind is named, and cleared on request."""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from itm.errors import PipelineError
from itm.pipeline.doctor import examine
from itm.pipeline.presence import this

SRC = Path(__file__).parents[2] / "src"

LOCK = """schema: '2.0'
stages:
  fit:
    cmd: python fit.py
    outs:
    - path: model.bin
      hash: md5
      md5: {md5}
      size: 7
"""
CONTENT = b"weights"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one result, here and in DVC's cache."""
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    (tmp_path / "dvc.lock").write_text(LOCK.format(md5=md5))
    for path in (tmp_path / "model.bin", tmp_path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    (tmp_path / ".dvc/tmp").mkdir()
    (tmp_path / ".dvc/tmp/rwlock").write_text("{}")
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    return tmp_path


def cached(project: Path) -> Path:
    return next((project / ".dvc/cache/files/md5").glob("??/*"))


def repaired(project: Path) -> list[str]:
    """What was found, after all of it was cleared."""
    found = examine(project)
    for finding in found:
        finding.repair()
    return [f"{finding.what}; {finding.remedy}" for finding in found]


def test_a_whole_project_has_no_findings(project: Path) -> None:
    assert examine(project) == []


def test_locks_of_processes_that_are_gone_are_removed(project: Path) -> None:
    (project / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"a": {"pid": 2**22 + 1, "cmd": "dvc"}}, "read": {}}))
    (project / ".snakemake/locks/0.input.lock").touch()
    (project / ".snakemake/locks/0.output.lock").touch()
    words = repaired(project)
    assert len(words) == 2
    assert "1 path(s) in use by processes that are gone" in words[0]
    assert "left 2 lock(s); remove them, as `snakemake --unlock` does" in words[1]
    assert examine(project) == []


@pytest.mark.parametrize("text", ["", '{"write": {"/a', "[]"])
def test_a_torn_record_of_paths_in_use_is_removed(project: Path, text: str) -> None:
    (project / ".dvc/tmp/rwlock").write_text(text)
    assert "DVC was killed while it wrote it" in repaired(project)[0]
    assert not (project / ".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize("committed", [True, False])
def test_a_torn_lock_file_is_replaced_by_the_committed_one_or_removed(project: Path, committed: bool) -> None:
    whole = (project / "dvc.lock").read_text()
    if committed:
        for words in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-q", "-m", "x"]):
            name = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
            subprocess.run(["git", *name, *words], cwd=project, check=True)
    (project / "dvc.lock").write_text(whole[: whole.index("- path") + 3])
    (words,) = repaired(project)
    assert "dvc.lock: DVC was killed while it wrote it" in words
    assert ("git checkout dvc.lock" in words) is committed
    assert (project / "dvc.lock").exists() is committed
    assert examine(project) == []


def test_a_damaged_object_of_the_cache_and_what_a_kill_left_there_are_removed(project: Path) -> None:
    damaged = cached(project)
    left = damaged.with_name(".abc123.tmp")
    left.write_text("half")
    damaged.write_bytes(b"weighty")
    words = repaired(project)
    assert len(words) == 2
    assert any(
        "damaged, its content has another checksum; remove it; `dvc repro` makes it anew" in one for one in words
    )
    assert not damaged.exists()
    assert not left.exists()


def test_a_damaged_result_gets_a_new_time_so_that_dvc_reads_it_again(project: Path) -> None:
    result = project / "model.bin"
    result.write_bytes(b"weighty")
    os.utime(result, (1, 1))
    assert "model.bin: not what fit wrote, by dvc.lock" in repaired(project)[0]
    assert result.stat().st_mtime > 1


def record(project: Path, **changed: object) -> Path:
    path = project / ".itm/at-work/0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(this("the stage train")) | changed))
    return path


UNKNOWN = {"boot": "another", "host": "node7"}
GONE = {"began": "1"}, {"boot": "another"}, {"namespace": "pid:[1]"}, {"boot": ""}


@pytest.mark.parametrize("changed", GONE, ids=str)
def test_a_record_of_a_process_that_is_gone_is_removed(project: Path, changed: dict[str, str]) -> None:
    """Its number is another process's now, the machine was started anew, its container's lock is free."""
    path = record(project, **changed)
    assert "left by the stage train on host" in repaired(project)[0]
    assert not path.exists()


@pytest.mark.parametrize("changed", [{}, UNKNOWN, {"boot": "", "host": "node7"}], ids=str)
def test_locks_of_another_host_and_of_a_live_process_stay(project: Path, changed: dict[str, str]) -> None:
    path = record(project, **changed)
    use = project / ".dvc/tmp/rwlock"
    use.write_text(json.dumps({"write": {"a": {"pid": 2**22 + 1, "cmd": "dvc"}}, "read": {}}))
    host = changed.get("host", socket.gethostname())
    with pytest.raises(PipelineError, match=rf"the stage train on host {host}, process .*0.json.*wait for them to end"):
        examine(project)
    assert use.exists()
    path.write_text("{")
    with pytest.raises(PipelineError, match=r"0\.json cannot be read"):
        examine(project)


LIVE = """
import sys
from itm.pipeline.presence import present
with present(".", "the stage train"):
    print("here", flush=True)
    sys.stdin.read()
"""
APART = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


def may_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*APART, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="no PID namespace of one's own is permitted here")
@pytest.mark.parametrize("apart", ["the run", "the doctor"])
def test_a_run_in_another_pid_namespace_keeps_its_locks(project: Path, apart: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    prefix = APART if apart == "the run" else []
    live = subprocess.Popen(
        [*prefix, sys.executable, "-c", LIVE],
        cwd=project,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert live.stdout is not None
    assert live.stdout.readline() == b"here\n"
    ask = "from itm.pipeline.doctor import examine; print(len(examine()))"
    prefix = APART if apart == "the doctor" else []
    asked = subprocess.run(
        [*prefix, sys.executable, "-c", ask], cwd=project, env=environment, capture_output=True, text=True
    )
    live.communicate()
    assert f"the stage train on host {socket.gethostname()}" in asked.stderr
    assert examine(project) == []
    assert not list((project / ".itm/at-work").iterdir())


@pytest.mark.parametrize("lock", [".itm/running", ".dvc/tmp/lock"])
def test_a_lock_that_is_held_without_a_record_keeps_the_doctor_away(project: Path, lock: str) -> None:
    (project / lock).parent.mkdir(exist_ok=True)
    with (project / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(PipelineError, match=f"{lock} is locked, maybe from another container on host"):
            examine(project)
    assert examine(project) == []
