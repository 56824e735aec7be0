"""Which stages of dvc.yaml track which keys of params.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def tracking(pipeline: dict[str, Any]) -> dict[str, list[str]]:
    """For every key that dvc.yaml tracks, the stages that do; ``${...}`` stands for any one name.

    A list that a matrix runs over is tracked by its stage too: its values say which such stages there are.

    >>> tracking({"stages": {"train": {"matrix": {"seed": "${seeds}"}, "params": ["train", "method.${item.method}"]}}})
    {'seeds': ['train@'], 'train': ['train'], 'method.*': ['train']}
    """
    tracked: dict[str, list[str]] = {}
    for stage, facts in pipeline["stages"].items():
        for values in facts.get("matrix", {}).values():
            tracked.setdefault(values.strip("${}"), []).append(f"{stage}@")
        for key in facts.get("params", []):
            parts = (("*" if part.startswith("${") else part) for part in _split(key))
            tracked.setdefault(".".join(parts), []).append(stage)
    return tracked


def stages_of(key: str, tracked: dict[str, list[str]]) -> list[str]:
    """The stages that run again when a parameter changes (and with them what follows).

    >>> stages_of("train.threads", {"train": ["train"], "train.threads": ["encode"], "train.epochs": ["report"]})
    ['train', 'encode']
    """
    parts = key.split(".")
    found = []
    for pattern, stages in tracked.items():
        wanted = pattern.split(".")
        if len(wanted) <= len(parts) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=False)):
            found += [stage for stage in stages if stage not in found]
    return found


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
