"""Snakemake's plan is DVC's pipeline: the same jobs, inputs, outputs, commands and tracked parameters.

DVC's side is read from DVC itself, Snakemake's from its dry run of everything. (`--detailed-summary` would be
the wrong witness: it tells the inputs of the last run, and so overlooks one that was since left out.)
"""

import hashlib
import json
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

pytestmark = pytest.mark.slow


class Facts(NamedTuple):
    inputs: frozenset[str]
    outputs: frozenset[str]
    command: str
    fingerprint: str


def by_dvc(root: Path) -> dict[str, Facts]:
    with Repo(str(root)) as repo:
        stages = [stage for stage in repo.index.stages if stage.cmd]
        every = {out.def_path for stage in stages for out in stage.outs}
        return {stage.name: facts(stage, every, root) for stage in stages}


def facts(stage, every: set[str], root: Path) -> Facts:
    inputs: set[str] = set()
    tracked: dict[str, object] = {}
    for dependency in stage.deps:
        path = dependency.def_path
        if isinstance(dependency, ParamsDependency):
            for key, value in dependency.read_params(flatten=True).items():
                tracked |= leaves(key if path == "params.yaml" else f"{path}: {key}", value)
        elif below := {out for out in every if out.startswith(f"{path}/")}:
            inputs |= below
        elif (root / path).is_dir():
            files = [file for file in (root / path).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
            inputs |= {str(file.relative_to(root)) for file in files}
        else:
            inputs.add(path)
    lines = [stage.cmd, *(f"{key} = {json.dumps(tracked[key])}" for key in sorted(tracked))]
    fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    return Facts(frozenset(inputs), frozenset(out.def_path for out in stage.outs), stage.cmd, fingerprint)


def leaves(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not value:
        return {key: value}
    return {name: leaf for part, inner in value.items() for name, leaf in leaves(f"{key}.{part}", inner).items()}


def by_snakemake(project) -> dict[str, Facts]:
    plan = project.run("snakemake", "-n", "-F", "-p", "--nocolor")
    jobs: dict[str, Facts] = {}
    inputs = outputs = frozenset[str]()
    for line in (plan.stdout + plan.stderr).splitlines():
        key, _, text = line.strip().partition(": ")
        if key == "input":
            inputs = frozenset(text.split(", "))
        elif key == "output":
            outputs = frozenset(text.split(", "))
        elif key == "Shell command" and "itm.pipeline.run" in text:
            words = shlex.split(text)
            name, option, fingerprint, command = words[words.index("itm.pipeline.run") + 1 :][:4]
            assert option == "--fingerprint"
            jobs[name] = Facts(inputs, outputs, command, fingerprint)
    return jobs


def test_both_runners_see_the_same_pipeline(unstubbed):
    expected = by_dvc(unstubbed.root)
    assert len(expected) > 20
    assert by_snakemake(unstubbed) == expected


ALL = {"download", "clean", "score", "features", "describe", "train", "encode", "grade", "evaluate", "report"}
RULES, DAG = "workflow/rules/", "src/itm/pipeline/dag.py"
RECORD_LEFT_OUT = 'outputs("score")[:3] + pipeline.outputs("score")[4:]'
PLANTED = {
    "a dependency too few": (RULES + "train.smk", 'inputs("train")', 'inputs("train")[1:]', {"train"}),
    "a dependency too many": (RULES + "data.smk", 'inputs("score")', 'inputs("score") + ["dvc.yaml"]', {"score"}),
    "an output too few": (RULES + "data.smk", 'outputs("score")', RECORD_LEFT_OUT, {"score"}),
    "an output too many": (RULES + "evaluate.smk", 'outputs("report")', 'outputs("report") + ["x"]', {"report"}),
    "another command": (RULES + "common.smk", "{params.command:q}", "{params.command:q}' --seed 1'", ALL),
    "a parameter that is not tracked": (DAG, "sorted(values.items())", "sorted(values.items())[1:]", ALL),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_seen(fresh, planted):
    file, old, new, stages = PLANTED[planted]
    expected = by_dvc(fresh.root)
    fresh.edit(file, old, new)
    found = by_snakemake(fresh)
    assert {name.split("@")[0] for name in expected if found[name] != expected[name]} == stages
