"""Columns of results: a benchmark's first figures, their headings, units and directions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["percent", "points", "fraction", "correlation", "count"]

DIGITS: dict[Unit, int] = {"percent": 1, "points": 1, "fraction": 3, "correlation": 3, "count": 0}
"""Decimals shown of each unit; values closer than that count as tied."""


@dataclass(frozen=True)
class Column:
    """One column of a results table: a metric key, its heading, and how to read it."""

    key: str
    label: str
    unit: Unit
    higher: bool = True
    headline: bool = False

    @property
    def scale(self) -> float:
        """What the stored number is multiplied with before it is shown."""
        return 100.0 if self.unit == "percent" else 1.0

    @property
    def digits(self) -> int:
        """Decimals shown."""
        return DIGITS[self.unit]

    def show(self, value: float | None) -> str:
        """The number as shown in a table, an en dash where it is undefined.

        >>> Column("i2t/r1", "R@1", "percent").show(0.2649)
        '26.5'
        >>> Column("sts", "STS", "correlation").show(float("nan"))
        '–'
        """
        if value is None or math.isnan(value):
            return "–"
        return f"{value * self.scale:.{self.digits}f}".replace("-", "\N{MINUS SIGN}")


def columns(benchmark: str, keys: list[str], table: dict[str, tuple[Column, ...]] | None = None) -> list[Column]:
    """The key columns of a benchmark among the metrics it has; for an unknown benchmark its first eight."""
    known = [c for c in (table or KEY_COLUMNS).get(benchmark, ()) if c.key in keys]
    return known or [column(key) for key in keys[:8]]


def headline_columns(benchmark: str, keys: list[str]) -> list[Column]:
    """The columns of a benchmark that stand for it where few figures are shown: at most three."""
    chosen = columns(benchmark, keys)
    return [each for each in chosen if each.headline] or chosen[:3]


def column(key: str) -> Column:
    """A column for any metric key, with what its name tells of unit and direction.

    >>> column("i2t/r5")
    Column(key='i2t/r5', label='i2t R@5', unit='percent', higher=True, headline=False)
    >>> column("t2i/median_rank").higher
    False
    """
    words = re.sub(r"\br_?(\d+)\b", r"R@\1", key.replace("/", " ")).replace("_", " ")
    name = key.rsplit("/", 1)[-1]
    unit: Unit = "fraction"
    if re.fullmatch(r"r_?\d+", name):
        unit = "percent"
    elif name == "rsum":
        words, unit = words.replace("rsum", "RSUM"), "points"
    elif "spearman" in key or "tau" in key or name in ("sts", "sis", "sits"):
        unit = "correlation"
    elif name in ("median_rank", "mean_rank", "queries", "skipped"):
        unit = "count" if name in ("queries", "skipped") else "points"
    return Column(key, words, unit, higher=not re.search(r"rank|loss|error|^(ece|brier)$", name))


KEY_COLUMNS: dict[str, tuple[Column, ...]] = {
    "retrieval": (
        Column("i2t/r1", "i2t R@1", "percent", headline=True),
        Column("i2t/r5", "i2t R@5", "percent"),
        Column("i2t/r10", "i2t R@10", "percent"),
        Column("t2i/r1", "t2i R@1", "percent", headline=True),
        Column("t2i/r5", "t2i R@5", "percent"),
        Column("t2i/r10", "t2i R@10", "percent"),
        Column("rsum", "RSUM", "points", headline=True),
    ),
    "cxc": (
        Column("sts/spearman", "STS", "correlation", headline=True),
        Column("sis/spearman", "SIS", "correlation"),
        Column("sits/spearman", "SITS", "correlation", headline=True),
        Column("i2t/r1", "i2t R@1", "percent"),
        Column("t2i/r1", "t2i R@1", "percent"),
        Column("t2t/r1", "t2t R@1", "percent"),
        Column("i2i/r1", "i2i R@1", "percent"),
    ),
    "hierarcaps": (
        Column("radius_levels/precision", "P", "fraction", headline=True),
        Column("radius_levels/recall", "R", "fraction", headline=True),
        Column("radius_levels/ordered_recall", "ordered R", "fraction"),
        Column("tau_d", "τd", "correlation", headline=True),
        Column("interpolation/precision", "P (interp.)", "fraction"),
        Column("interpolation/recall", "R (interp.)", "fraction"),
    ),
    "judgements": (
        Column("expert/tau_c", "Expert τc", "correlation", headline=True),
        Column("expert/spearman", "Expert ρ", "correlation"),
        Column("expert/ndcg", "Expert nDCG", "fraction"),
        Column("crowdflower/tau_b", "CrowdFlower τb", "correlation", headline=True),
        Column("crowdflower/spearman", "CrowdFlower ρ", "correlation"),
        Column("crowdflower/ndcg", "CrowdFlower nDCG", "fraction"),
    ),
    "false_negatives": (
        Column("t2i/map_at_r", "t2i mAP@R", "percent", headline=True),
        Column("i2t/map_at_r", "i2t mAP@R", "percent", headline=True),
        Column("t2i/unlabelled_recall", "t2i unlabelled found", "percent"),
        Column("i2t/unlabelled_recall", "i2t unlabelled found", "percent"),
        Column("threshold/average_precision", "all-pairs AP", "percent"),
        Column("order/level", "order τ", "correlation", headline=True),
        Column("t2i/spearman", "t2i grades ρ", "correlation"),
    ),
    "grading": (
        Column("specificity_0/map_at_r", "i2t mAP@R, specificity 0", "percent"),
        Column("specificity_1/order", "order τ, specificity 1", "correlation"),
        Column("specificity_1/rsum", "RSUM, specificity 1", "points"),
        Column("frontier/area", "frontier", "fraction", headline=True),
        Column("probability/average_precision", "all-pairs AP", "percent"),
        Column("probability/ece", "ECE", "fraction", higher=False),
        Column("half_truth/specificity_0", "half-truths", "percent"),
        Column("monotonicity/specificity_1/rising", "rising chains, specificity 1", "percent"),
        Column("crowdflower/ece", "ECE, CrowdFlower", "fraction", higher=False),
    ),
}
