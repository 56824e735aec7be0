"""Captions kept, rejected and doubted by cleaning, and evaluation images that training knows: quality.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm.data.files import read_json
from itm.report.words import counted

EXAMPLES = 5


@dataclass(frozen=True)
class Reason:
    """Why rows were rejected or doubted, how many, and the first of them."""

    name: str
    count: int
    examples: list[str]


@dataclass(frozen=True)
class Split:
    """Images and captions of a split in the source files (before) and in the tables."""

    name: str
    images_before: int
    images: int
    captions_before: int
    captions: int


@dataclass(frozen=True)
class Quality:
    """The data-quality report in the order of reading; `leak_pairs` are the equal images that were listed."""

    splits: list[Split]
    rejected: list[Reason]
    flagged: list[Reason]
    same_images: list[tuple[str, int]]
    by_name: list[tuple[str, int]]
    leaks: int
    leak_pairs: list[str]
    verdict: str


def read_quality(path: Path) -> Quality | None:
    """The report that the clean stage wrote; None without one, or when it has none of the known parts."""
    facts = read_json(path) if path.is_file() else {}
    if "after" not in facts or "duplicates" not in facts:
        return None
    before, after, found = facts.get("before", {}), facts["after"], facts["duplicates"]
    splits = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, {}), after.get(name, {})
        splits.append(
            Split(name, old.get("images", 0), new.get("images", 0), old.get("captions", 0), new.get("captions", 0))
        )
    by_name = [(name, int(count)) for name, count in found.get("leaks_by_name", {}).items()]
    leaks = int(found.get("leaks", 0))
    return Quality(
        splits,
        _reasons(facts.get("quarantine", {}), facts.get("quarantine_examples", {})),
        _reasons(facts.get("captions", {}).get("evaluation_flags", {}), {}),
        [(name, int(count)) for name, count in found.get("same_images", {}).items()],
        by_name,
        leaks,
        list(found.get("same_images_listed", [])),
        _verdict(leaks, by_name),
    )


def _reasons(counts: Mapping[str, Any], examples: Mapping[str, Any]) -> list[Reason]:
    return [Reason(name, int(count), list(examples.get(name, []))[:EXAMPLES]) for name, count in counts.items()]


def _verdict(leaks: int, by_name: list[tuple[str, int]]) -> str:
    """The leak report in a sentence.

    >>> _verdict(0, [])
    'No evaluation image was found in the training split.'
    """
    named = sum(count for _, count in by_name)
    if not leaks and not named:
        return "No evaluation image was found in the training split."
    parts = (
        [f"{counted(leaks, 'pair')} of a training and an evaluation image are equal or look the same"] if leaks else []
    )
    if named:
        parts.append(f"{counted(named, 'evaluation image')} are in the training split by name")
    return "; ".join(parts) + "."
