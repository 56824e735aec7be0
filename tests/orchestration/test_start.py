"""What is refused, with one clear message, before Snakemake plans anything; and the profiles."""

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itm.errors import PipelineError
from itm.pipeline.start import check_profile, is_dry, is_forced

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"
PROFILES = sorted(path.parent.name for path in WORKFLOW.glob("profiles/*/config.yaml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow-profile", "workflow/profiles/gpuu"], "no such profile in .*; did you mean 'gpu'"),
        (["--workflow-profile=slrm", "-n"], "did you mean 'slurm'"),
        (["--workflow-profile", "elsewhere"], "known: default, gpu, kubernetes, slurm"),
        (["--workflow-profile", "workflow/rules"], "no such profile"),
    ],
)
def test_a_profile_that_does_not_exist_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        check_profile(["snakemake", *arguments], WORKFLOW)


@pytest.mark.parametrize("named", ["workflow/profiles/gpu", "gpu", "workflow/profiles/gpu/config.yaml", "none"])
def test_a_profile_that_exists_is_accepted(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check_profile(["snakemake", "-n"], WORKFLOW)
    check_profile(["snakemake", "--workflow-profile", named], WORKFLOW)


@pytest.mark.parametrize(
    ("arguments", "forced"),
    [
        (["-F"], True),
        (["-nF"], True),
        (["-f", "report.md"], True),
        (["-R", "train"], True),
        (["--forceall"], True),
        (["-n", "-p", "--cores", "2"], False),
        (["--mode", "remote", "--force"], False),  # how Snakemake starts one job on a cluster
    ],
)
def test_whether_jobs_are_forced(arguments: list[str], forced: bool) -> None:
    assert is_forced(["snakemake", *arguments]) is forced


@pytest.mark.parametrize(
    ("arguments", "dry"),
    [(["-n"], True), (["-nFp"], True), (["--dry-run"], True), (["--cores", "2"], False), (["--notemp"], False)],
)
def test_whether_only_the_plan_is_asked_for(arguments: list[str], dry: bool) -> None:
    assert is_dry(["snakemake", *arguments]) is dry


def test_every_line_of_a_profile_is_explained() -> None:
    assert PROFILES == ["default", "gpu", "kubernetes", "slurm"]
    for profile in PROFILES:
        paragraphs = (WORKFLOW / "profiles" / profile / "config.yaml").read_text().split("\n\n")
        assert [text for text in paragraphs if not text.lstrip().startswith("#")] == [], profile


def test_the_profiles_agree_where_they_repeat_each_other() -> None:
    settings = {name: YAML(typ="safe").load(WORKFLOW / "profiles" / name / "config.yaml") for name in PROFILES}
    own = {"cores", "resources"}
    for profile in ("gpu", "kubernetes", "slurm"):
        shared = {key: value for key, value in settings["default"].items() if key not in own}
        assert {key: settings[profile].get(key) for key in shared} == shared


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow-profile", "workflow/profiles/gpuu"], "did you mean 'gpu'?"),
        (["--config", "seed=1"], "parameters live in params.yaml"),
    ],
)
def test_snakemake_stops_with_the_message(fresh, arguments: list[str], message: str) -> None:
    done = fresh.run("snakemake", "-n", *arguments, ok=False)
    assert done.returncode
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_invalid_parameters_are_named_without_a_traceback(fresh) -> None:
    fresh.set("train.epochs", "ten")
    fresh.set("benchmarks", ["judgements"])
    done = fresh.run("snakemake", "-n", ok=False)
    assert done.returncode
    output = done.stdout + done.stderr
    assert "train.epochs = 'ten'" in output
    assert "Traceback" not in output
    assert len(output.splitlines()) < 10


@pytest.mark.slow
def test_the_gpu_profile_plans_one_gpu_for_each_gpu_job(fresh) -> None:
    fresh.set("device", "auto")
    plan = fresh.run("snakemake", "-n", "--cores", "2", "--workflow-profile", "workflow/profiles/gpu")
    jobs = (plan.stdout + plan.stderr).split("\nrule ")[1:]
    with_gpu = sorted(job.split(":")[0] for job in jobs if "gpu=1" in job)
    assert with_gpu == ["encode", "encode", "features", "train", "train"]


@pytest.mark.slow
def test_the_slurm_profile_plans_one_process_a_gpu_job(fresh) -> None:
    plan = fresh.run("snakemake", "-n", "--workflow-profile", "workflow/profiles/slurm")
    jobs = (plan.stdout + plan.stderr).split("\nrule ")[1:]
    gpu_jobs = [job for job in jobs if "gpu=1" in job]
    assert sorted(job.split(":")[0] for job in gpu_jobs) == ["encode", "encode", "features", "train", "train"]
    assert all("tasks=0" in job and "slurm_partition=YOUR_GPU_PARTITION" in job for job in gpu_jobs)


@pytest.mark.slow
def test_the_workflow_is_linted_with_stated_exceptions_only(fresh) -> None:
    def lint() -> subprocess.CompletedProcess[str]:
        return fresh.run("python", "workflow/lint.py", ok=False)

    assert lint().returncode == 0
    fresh.append(
        "workflow/Snakefile", '\n\nrule bad:\n    output:\n        "bad.txt",\n    shell:\n        "touch {output}"\n'
    )
    done = lint()
    assert done.returncode == 1
    assert "No log directive defined" in done.stdout
    assert "rule bad" in done.stdout
