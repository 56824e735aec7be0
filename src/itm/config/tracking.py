"""The keys of params.yaml that each stage of dvc.yaml tracks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def tracking(pipeline: dict[str, Any]) -> dict[str, list[list[str]]]:
    """For every stage, in the order of dvc.yaml, the keys that it tracks as lists of parts.

    ``${...}`` stands for any one name and becomes ``*``. The lists that a matrix runs over are given under the
    stage's name with ``@``: their values say which such stages there are.

    >>> tracking({"stages": {"train": {"matrix": {"seed": "${seeds}"}, "params": ["train", "method.${item.method}"]}}})
    {'train@': [['seeds']], 'train': [['train'], ['method', '*']]}
    """
    tracked: dict[str, list[list[str]]] = {}
    for stage, facts in pipeline["stages"].items():
        if matrix := facts.get("matrix"):
            tracked[f"{stage}@"] = [values.strip("${}").split(".") for values in matrix.values()]
        tracked[stage] = [
            ["*" if part.startswith("${") else part for part in _split(key)] for key in facts.get("params", [])
        ]
    return tracked


def stages_of(key: str, tracked: dict[str, list[list[str]]]) -> list[str]:
    """The stages that run again when a parameter changes (and with them what follows), in order.

    >>> stages_of("train.threads", {"train": [["train"]], "encode": [["train", "threads"]], "report": [["seeds"]]})
    ['train', 'encode']
    """
    parts = key.split(".")
    return [stage for stage, patterns in tracked.items() if any(_covers(pattern, parts) for pattern in patterns)]


def _covers(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) <= len(parts) and all(w in ("*", p) for w, p in zip(pattern, parts, strict=False))


def _split(key: str) -> Iterator[str]:
    """The parts of a dotted key; a dot inside ``${...}`` does not count."""
    part, depth = "", 0
    for letter in key:
        depth += (letter == "{") - (letter == "}")
        if letter == "." and not depth:
            yield part
            part = ""
        else:
            part += letter
    yield part
