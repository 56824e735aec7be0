"""The pipeline through a real Slurm: the same results as on one machine, also when Slurm ends jobs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Slurm, running, unavailable
from pipeline_project import written
from runs import MADE, Run, fill_in_profile, run, scancel, time_limit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("slurm"),  # the group shares one cluster and one run
    pytest.mark.skipif(unavailable() is not None, reason=unavailable() or ""),
]
CLUSTER_JOBS = {
    "clean": 1,
    "score": 1,
    "features": 1,
    "describe": 2,
    "train": 2,
    "encode": 2,
    "grade": 2,
    "evaluate": 2,
}
GPU_STAGES = {"features", "train", "encode"}
# more epochs than the preset has, so that there is time to end a job between two of them
PRESET = ["scenes-smoke", "device=cpu", "train.epochs=4", "benchmarks=[retrieval]"]


@pytest.fixture(scope="module")
def slurm():
    with running() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def prepared(unstubbed, tmp_path_factory):
    project = unstubbed.copy(tmp_path_factory.mktemp("slurm") / "prepared", quick=False)
    project.itm("preset", *PRESET)
    fill_in_profile(project.root)
    project.commit()
    return project


@pytest.fixture(scope="module")
def both(prepared, slurm: Slurm, tmp_path_factory):
    """(project, what was seen) of a run through Slurm, in which it ends both trainings; and a run on this machine."""
    folder = tmp_path_factory.mktemp("slurm")
    here, there = prepared.copy(folder / "here", quick=True), prepared.copy(folder / "there")
    local = subprocess.Popen(
        ["dvc", "repro"],
        cwd=here.root,
        env=here.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = run(there.root, slurm, there.environment, [time_limit("clip"), scancel("ditm")])
        said, _ = local.communicate(timeout=1800)
    finally:
        local.kill()
    assert local.returncode == 0, said + here.logs()
    assert seen.status == 0, seen.output + there.logs() + slurm.logs()
    return here, there, seen


def recorded(project) -> tuple[dict, dict]:
    """dvc.lock and provenance/, but for the versions of loaded libraries: the quick forks here have loaded more."""
    stages = YAML(typ="safe").load(project.root / "dvc.lock")["stages"]
    for stage in stages.values():
        stage["outs"] = [out for out in stage["outs"] if not out["path"].startswith("provenance/")]
    records = {path: json.loads(content) for path, content in written(project.root, "provenance").items()}
    for record in records.values():
        del record["versions"]
    return stages, records


def rule_of(name: str) -> str:
    return name.removeprefix("rule_").split("_wildcards")[0]


def test_the_results_are_those_of_one_machine_byte_for_byte(both):
    here, there, _ = both

    expected = written(here.root, *MADE)
    assert written(there.root, *MADE) == expected
    assert {"report.html", "results/metrics.json", "models/ditm/seed0/model.safetensors"} <= expected.keys()
    assert recorded(there) == recorded(here)


def test_afterwards_neither_runner_has_anything_to_do(both):
    _, there, _ = both
    assert there.dvc_status() == {}
    assert there.nothing_to_do()


def test_jobs_that_slurm_ended_were_submitted_again_and_all_others_once(both, slurm: Slurm):
    _, _, seen = both
    assert isinstance(seen, Run)
    assert len(seen.events) == 2, seen.output
    ended = {job: (rule_of(name), state) for job, name, state in slurm.history() if state != "COMPLETED"}
    assert Counter(ended.values()) == {("train", "TIMEOUT"): 1, ("train", "CANCELLED"): 1}
    completed = Counter(rule_of(name) for _, name, state in slurm.history() if state == "COMPLETED")
    assert completed == CLUSTER_JOBS
    assert "Trying to restart job" in seen.output


@pytest.mark.parametrize("method", ["clip", "ditm"])
def test_the_second_attempt_of_a_training_resumes(both, method: str):
    _, there, _ = both
    log = there.read(f"logs/train/{method}-0.log")
    resumed = re.search(r"resuming after epoch (\d)", log)
    assert resumed, log
    assert "epoch 1/4" not in log
    assert f"epoch {int(resumed[1]) + 1}/4" in log


def test_a_gpu_job_asks_for_one_gpu_one_process_and_its_partition(both, slurm: Slurm):
    requests = {rule_of(re.search(r"--comment (\S+)", line)[1]): line for line in slurm.requests()}
    assert requests.keys() == CLUSTER_JOBS.keys()  # download and report run on the login node
    for stage, line in requests.items():
        gpu = stage in GPU_STAGES
        assert ("-p gpu" in line, "--gpus=a100:1" in line, "--cpus-per-gpu=4" in line) == (gpu, gpu, gpu), line
        assert "--ntasks-per-gpu" not in line
        assert (" -A " in line, "--account" in line) == (False, False)
    assert "-t 720" in requests["train"]
    assert "--mem 16000" in requests["train"]
    assert "-t 60" in requests["clean"]
    assert "--mem 4000" in requests["clean"]


def test_slurm_grants_the_gpus_that_are_asked_for_and_no_more(slurm: Slurm):
    asked = ["--partition=gpu", "--gpus=a100:1", "--cpus-per-gpu=4", "--nodes=1", "--ntasks=1"]
    granted = slurm.command("srun", *asked, "sh", "-c", "echo $SLURM_GPUS_ON_NODE $SLURM_NTASKS")
    assert granted.split() == ["1", "1"]
    with pytest.raises(RuntimeError, match="Requested node configuration is not available"):
        slurm.command("srun", "--partition=gpu", "--gpus=a100:3", "true")
