"""The section on the grade: truth against order as the specificity runs, reliability, and one photo's captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from itm.report.dataset import Dataset
from itm.report.plots import Series, lines
from itm.report.results import Results

BENCHMARK = "grading"
LISTS = {"specificity_0": "All that is true (specificity 0)", "specificity_1": "What says most (specificity 1)"}


@dataclass(frozen=True)
class Told:
    """A caption of a list: its row, what is known of it, and the probability that it is true of the photo."""

    row: int
    kind: str
    probability: float


@dataclass(frozen=True)
class GradePart:
    """Charts, and the captions that one method puts first for one image; each is empty where it is not known."""

    frontier: Markup
    reliability: Markup
    method: str
    image: int
    lists: dict[str, list[Told]]


def grade_part(results: Results, data: Dataset, featured: str) -> GradePart | None:
    """The section; None where the benchmark is not evaluated."""
    if BENCHMARK not in results.benchmarks:
        return None
    runs = {name: [results.arrays(name, seed, BENCHMARK) for seed in results.seeds] for name in results.methods}
    frontier = lines(
        "Truth against order, as the specificity runs from 0 (left) to 1.5",
        "order of an image's captions, τ",
        "mAP@R of all true captions",
        frontier_series(runs, results),
    )
    reliability = lines(
        "Does the probability come true?",
        "probability that a caption is true",
        "share that is",
        reliability_series(runs),
    )
    image, lists = example(runs[featured][0], data)
    return GradePart(frontier, reliability, featured, image, lists)


def frontier_series(runs: dict[str, list[dict[str, Any]]], results: Results) -> list[Series]:
    """A line a method, means over seeds; and the similarity itself as a point, where both figures are evaluated."""
    curves = [
        Series(
            name, *(np.mean([run[f"frontier_{key}"] for run in each], axis=0).tolist() for key in ("order", "map_at_r"))
        )
        for name, each in runs.items()
        if all("frontier_map_at_r" in run for run in each)
    ]
    if "false_negatives" not in results.benchmarks or not curves:
        return curves
    keys = "order/level", "i2t/map_at_r"
    plain = {name: [float(np.mean(results.values(name, "false_negatives", key))) for key in keys] for name in runs}
    return curves + [Series(f"{name}, similarity", [x], [y]) for name, (x, y) in plain.items()]


def reliability_series(runs: dict[str, list[dict[str, Any]]]) -> list[Series]:
    """A line a method (first seed): of all pairs where the truth is known, else of those that people have judged."""
    found = []
    for name, (first, *_) in runs.items():
        bins = first.get("reliability", first.get("crowdflower_reliability"))
        if bins is not None:
            found.append(Series(name, bins[:, 0].tolist(), bins[:, 1].tolist()))
    return [*found, Series("as stated", [0.0, 1.0], [0.0, 1.0])] if found else []


def example(arrays: dict[str, Any], data: Dataset) -> tuple[int, dict[str, list[Told]]]:
    """The image of median mAP@R at specificity 0 (else the first), and its first captions by each of `LISTS`,
    each text once."""
    if "specificity_0_top" not in arrays:
        return 0, {}
    image = 0
    if "specificity_0_map_at_r" in arrays:
        quality = arrays["specificity_0_map_at_r"]
        known = np.flatnonzero(np.isfinite(quality))
        image = int(known[np.argsort(quality[known], kind="stable")[len(known) // 2]]) if len(known) else 0
    found = {}
    for name, title in LISTS.items():
        first: dict[str, Told] = {}
        for row, chance in zip(
            *(arrays[f"{name}_{key}"][image].tolist() for key in ("top", "top_probability")), strict=True
        ):
            first.setdefault(data.captions.texts[row], Told(row, data.kind(image, row), chance))
        found[title] = list(first.values())
    return image, found
