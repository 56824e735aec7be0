"""A stage of dvc.yaml tracks exactly the parameters that its code reads; `device` and `logger` are read and not."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itm.config import Parameters

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
UNTRACKED = {
    "device": "where a stage computes is no part of what it computes (docs/reproducing.md)",
    "logger": "a log beside the results changes none of them (docs/experiments.md)",
}


def code(stage: str) -> Iterator[Path]:
    for entry in STAGES[stage]["deps"]:
        if entry.startswith("src/"):
            yield from (ROOT / entry).rglob("*.py") if (ROOT / entry).is_dir() else [ROOT / entry]


def read_keys(file: Path) -> set[str]:
    """The keys of params.yaml that a file reads: attributes of what is annotated as Parameters or comes from load()."""
    tree = ast.parse(file.read_text())
    if not any(isinstance(node, ast.alias) and node.name in ("Parameters", "load") for node in ast.walk(tree)):
        return set()
    names = {
        node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) and node.annotation and ast.unparse(node.annotation) == "Parameters"
    }
    names |= {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("load(")
    }
    keys = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base, *parts = ast.unparse(node).split(".")
            if parts[0].partition("(")[0] == "entry":  # parameters.entry(name) is parameters.method[name], or an error
                parts[:1] = ["method", "any"]
            if (base in names or base.startswith("load(")) and parts[0] in {*Parameters.model_fields, "model_dump"}:
                keys.add(".".join(parts))
    return {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}


def tracked(stage: str) -> list[list[str]]:
    found = []
    for entry in STAGES[stage]["params"]:
        if isinstance(entry, str):
            found.append(
                [
                    "*" if part.startswith("$") else part
                    for part in entry.replace("{item.", "{").replace("{data.", "{").split(".")
                ]
            )
    return found


def agrees(key: str, pattern: list[str]) -> bool:
    return all(wanted in ("*", part) for wanted, part in zip(pattern, key.split("."), strict=False))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_tracks_the_parameters_it_reads_and_no_other(stage: str) -> None:
    keys = {key for file in code(stage) for key in read_keys(file)}
    assert keys, "the test finds nothing; the stage reads its parameters in another way"
    if any(key.startswith("model_dump") for key in keys):  # the report prints them all
        keys = set(Parameters.model_fields)
    keys -= UNTRACKED.keys()
    untracked = sorted(key for key in keys if not any(agrees(key, pattern) for pattern in tracked(stage)))
    unread = [".".join(pattern) for pattern in tracked(stage) if not any(agrees(key, pattern) for key in keys)]
    assert (untracked, unread) == ([], [])


def test_the_keys_of_a_file_are_found() -> None:
    assert {"data.name", "datasets.scenes"} == read_keys(ROOT / "src/itm/stages/download.py")
    assert {"train.threads", "device", "encode.split"} <= read_keys(ROOT / "src/itm/stages/encode.py")
