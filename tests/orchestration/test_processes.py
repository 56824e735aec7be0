"""Who is at work in a project, and that a stage does not outlive its runner."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from itm.errors import PipelineError
from itm.pipeline.processes import at_work, is_runner, runners_in
from itm.pipeline.start import check_alone

SRC = Path(__file__).parents[2] / "src"
STAGE = """
import os, sys, time
from pathlib import Path
from itm.pipeline.processes import end_with_runner
end_with_runner(lambda message: Path("said.txt").write_text(message))
Path("stage.txt").write_text(str(os.getpid()))
time.sleep(3600)
"""
RUNNER = "import subprocess, sys; subprocess.run(['/bin/sh', '-c', sys.executable + ' stage.py; true'])"


@pytest.fixture
def runner(tmp_path: Path):
    """A process that looks like `dvc repro` and started a stage through a shell; it and the stage's process."""
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc").write_text(RUNNER)
    process = subprocess.Popen(
        [sys.executable, "dvc", "repro"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SRC)}
    )
    stage = tmp_path / "stage.txt"
    until = time.monotonic() + 600
    while not (stage.exists() and stage.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    yield process, int(stage.read_text())
    process.kill()
    process.wait()


def ended(pid: int) -> bool:
    until = time.monotonic() + 600
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_stage_ends_with_its_runner_and_says_so(runner, tmp_path: Path) -> None:
    process, stage = runner
    assert is_runner(process.pid)
    assert not is_runner(stage)
    assert runners_in(tmp_path) == [process.pid]
    process.kill()
    process.wait()
    assert ended(stage)
    assert f"the runner (process {process.pid}) is gone" in (tmp_path / "said.txt").read_text()
    assert runners_in(tmp_path) == []


def test_a_run_is_refused_while_another_one_is_at_work(runner, tmp_path: Path) -> None:
    process, _ = runner
    use = tmp_path / ".dvc/tmp/rwlock"
    use.parent.mkdir(parents=True)
    entry = {"pid": process.pid, "cmd": "dvc repro"}
    use.write_text(json.dumps({"write": {"data": entry}, "read": {"src": [entry]}}))
    assert at_work(tmp_path) == [(process.pid, "dvc repro")]
    with pytest.raises(PipelineError, match=f"1 other run.* at work in this folder .process {process.pid}: dvc repro"):
        check_alone(tmp_path)
    process.kill()
    process.wait()
    check_alone(tmp_path)


@pytest.mark.parametrize(
    "record", ["", "[]", '{"write": {"a": {"pid": "x"}}}', '{"read": {"a": [{"pid": 1, "cmd": "dvc"}]}}']
)
def test_a_damaged_record_or_one_of_other_processes_names_nobody(record: str, tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/rwlock").write_text(record)
    assert at_work(tmp_path) == []
