"""dvc.yaml read without DVC gives the jobs that DVC itself makes of it."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from itm.pipeline.dag import read_pipeline
from itm.pipeline.stages import JobEntry, Stages

ROOT = Path(__file__).parents[2]


@functools.cache
def light() -> dict[str, JobEntry]:
    stages = Stages(ROOT)
    return {job.name: job for stage in stages.names for job in stages.jobs(stage)}


@functools.cache
def of_dvc() -> dict[str, Any]:
    with Repo(str(ROOT)) as repo:
        return {stage.addressing: stage for stage in repo.index.stages}


def facts(job: JobEntry) -> dict[str, Any]:
    return {
        "command": job.command,
        "inputs": sorted(job.dependencies),
        "outputs": sorted((*job.outputs, *job.metrics, *job.plots)),
        "parameters": sorted(job.parameters),
    }


def facts_of_dvc(stage: Any) -> dict[str, Any]:
    tracked = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
    return {
        "command": stage.cmd,
        "inputs": sorted(dep.def_path for dep in stage.deps if dep not in tracked),
        "outputs": sorted(out.def_path for out in stage.outs),
        "parameters": sorted((dep.def_path, key) for dep in tracked for key in dep.params),
    }


def test_the_jobs_are_those_of_dvc() -> None:
    assert list(light()) == list(of_dvc()) == list(read_pipeline(ROOT).jobs)


@pytest.mark.parametrize("stage", Stages(ROOT).names)
def test_each_job_of_a_stage_is_that_of_dvc(stage: str) -> None:
    jobs = [name for name in light() if name.split("@")[0] == stage]
    assert jobs
    for name in jobs:
        assert facts(light()[name]) == facts_of_dvc(of_dvc()[name]), name


def test_snakemake_is_given_the_same_jobs() -> None:
    for name, job in read_pipeline(ROOT).jobs.items():
        own = light()[name]
        assert (job.command, job.outputs) == (own.command, (*own.outputs, *own.metrics, *own.plots)), name
        keys = [key if file == "params.yaml" else f"{file}: {key}" for file, key in own.parameters]
        assert not apart(keys, [each.split(" = ")[0] for each in job.tracked], "."), name
        assert not apart(own.dependencies, job.inputs, "/"), name


def apart(whole: Iterable[str], parts: Iterable[str], separator: str) -> set[str]:
    """What of the whole, folders or sections, holds none of the parts, and parts that lie in none of it."""
    inside = {(each, part) for each in whole for part in parts if f"{part}{separator}".startswith(f"{each}{separator}")}
    return {*whole, *parts} - {name for pair in inside for name in pair}


def test_what_lies_outside_is_found() -> None:
    assert apart(["a", "b.c"], ["a.x", "a.y", "b.c"], ".") == set()
    assert apart(["a", "b"], ["a.x", "ab", "c"], ".") == {"b", "ab", "c"}
