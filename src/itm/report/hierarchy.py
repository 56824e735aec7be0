"""HierarCaps examples: the texts an image meets on the way from generic to specific, beside its own chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from itm.data.layout import HIERARCHIES
from itm.report.results import Results

BENCHMARK = "hierarcaps"
SHOWN = 10


@dataclass(frozen=True)
class Step:
    """A text met on the way; `skipped` counts the texts left out before it."""

    text: str
    met: bool
    skipped: int = 0


@dataclass(frozen=True)
class PathExample:
    """An image, its chain (level 1 first), and the distinct texts that each method meets."""

    image_id: str
    why: str
    chain: list[str]
    paths: Mapping[str, list[Step]]


def path_examples(results: Results, clean: Path, featured: str, count: int) -> list[PathExample]:
    """Good and bad paths of `featured` (half each), with those of the other methods; empty without HierarCaps."""
    if BENCHMARK not in results.benchmarks or count < 1:
        return []
    from pyarrow.parquet import read_table

    seed = results.seeds[0]
    arrays = {method: results.arrays(method, seed, BENCHMARK) for method in results.methods}
    columns = ["image_id", "level", "text", "text_id"]
    table = read_table(clean / HIERARCHIES, columns=columns, use_threads=False)
    image_of, level, text, text_id = (table[name].to_pylist() for name in columns)
    text_of = dict(zip(text_id, text, strict=True))
    chains: dict[str, list[str]] = {}
    for _, image, each in sorted(zip(range(len(level)), image_of, text, strict=True)):
        chains.setdefault(image, []).append(each)
    quality = arrays[featured]["radius_levels_recall"] + arrays[featured]["radius_levels_precision"]
    order = np.argsort(-quality, kind="stable").tolist()
    good = order[: (count + 1) // 2]
    bad = [row for row in reversed(order) if row not in good][: count // 2]
    ids = arrays[featured]["image_ids"].tolist()
    examples = []
    for row, why in [(r, "among the best paths") for r in good] + [(r, "among the worst paths") for r in bad]:
        chain = chains[ids[row]]
        paths = {}
        for method, stored in arrays.items():
            met = dict.fromkeys(text_of[each] for each in stored["path_text_ids"][row].tolist())
            paths[method] = shortened([Step(each, each in chain) for each in met])
        examples.append(PathExample(ids[row], f"{why} of {featured}", chain, paths))
    return examples


def shortened(steps: list[Step], limit: int = SHOWN) -> list[Step]:
    """At most `limit` steps: those of the chain, the first, the last, and others evenly spaced between them.

    >>> [(s.text, s.skipped) for s in shortened([Step(t, t == "c") for t in "abcdefg"], 3)]
    [('a', 0), ('c', 1), ('g', 3)]
    """
    if len(steps) <= limit + 2:  # leaving out one or two texts saves no line
        return steps
    kept = {0, len(steps) - 1, *(place for place, step in enumerate(steps) if step.met)}
    others = [place for place in range(len(steps)) if place not in kept]
    for place in np.linspace(0, len(others) - 1, max(0, limit - len(kept)) + 2)[1:-1].round().astype(int).tolist():
        kept.add(others[place])
    places = sorted(kept)
    return [replace(steps[at], skipped=at - before - 1) for before, at in zip([-1, *places], places, strict=False)]
