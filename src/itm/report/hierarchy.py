"""HierarCaps examples: the texts an image meets on the way from generic to specific, beside its own chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itm.data.layout import HIERARCHIES
from itm.report.results import Results

BENCHMARK = "hierarcaps"


@dataclass(frozen=True)
class PathExample:
    """An image, its chain (level 1 first), and the distinct texts each method meets: text, is it of the chain."""

    image_id: str
    why: str
    chain: list[str]
    paths: Mapping[str, list[tuple[str, bool]]]


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
            paths[method] = [(each, each in chain) for each in met]
        examples.append(PathExample(ids[row], f"{why} of {featured}", chain, paths))
    return examples
