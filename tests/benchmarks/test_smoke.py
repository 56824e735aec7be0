"""Every benchmark runs: `--smoke` is its whole path at the smallest size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from pipeline_project import written

ROOT = Path(__file__).parents[2]
ABSENT = 77  # as benchmarks/smoke.py
COMMANDS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if '__name__ == "__main__"' in path.read_text()]


@pytest.fixture(scope="session")
def environment(tmp_path_factory, worker_id):
    own = tmp_path_factory.getbasetemp()
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "OMP_NUM_THREADS": "1",
        # those that look at a finished run share one, which the first of them makes
        "ITM_SMALL_RUN": str((own if worker_id == "master" else own.parent) / "small-run"),
    }


def smoke(script, environment):
    # those that run the pipeline in clones want the real commands; for others quick forks do
    forks = [] if "from clone import" in script.read_text() else [warm.commands()]
    path = os.pathsep.join([*forks, str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["python", str(script), "--smoke"],
        cwd=ROOT, env=environment | {"PATH": path}, capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip


def committed():
    return written(ROOT, "docs", "params.yaml", "dvc.lock", "report.md", "results")


@pytest.mark.slow
@pytest.mark.long  # a step of its own in .ci/run
@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.stem)
def test_it_runs_and_writes_no_page(script, environment):
    before = committed()
    done = smoke(script, environment)
    if done.returncode == ABSENT:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert committed() == before


@pytest.mark.slow
def test_what_is_missing_is_said_in_one_line(environment):
    without = {name: value for name, value in environment.items() if name != "ITM_MIRROR"}
    done = smoke(ROOT / "benchmarks/metrics.py", without)
    assert done.returncode == ABSENT
    assert done.stderr.startswith("ITM_MIRROR is not set: ")
    assert len(done.stderr.splitlines()) == 1
