"""Published numbers that a reader may want beside ours. None of them was run here: each row says who measured it."""

from __future__ import annotations

from collections.abc import Sequence

from itm.report.columns import Column
from itm.report.tables import Cell, Row

HIERARCAPS_SOURCE = "Alper and Averbuch-Elor 2024 (arXiv 2407.08521), Table 1"

QUOTED: dict[tuple[str, str], list[tuple[str, dict[str, float], str]]] = {
    ("flickr8k", "hierarcaps"): [
        (
            "CLIP ViT-B/32, zero-shot",
            {"radius_levels.precision": 0.14, "radius_levels.recall": 0.36, "tau_d": 0.89},
            HIERARCAPS_SOURCE,
        ),
        (
            "CLIP ViT-B/32, their fine-tuning",
            {"radius_levels.precision": 0.15, "radius_levels.recall": 0.47, "tau_d": 0.99},
            HIERARCAPS_SOURCE,
        ),
    ],
}
"""By data set and benchmark: name, numbers as printed, source. Only where photos, texts and protocol are the same."""


def quoted_rows(data_name: str, benchmark: str, columns: Sequence[Column]) -> list[Row]:
    """The quoted rows of a table; a number that the source does not print is a dash."""
    return [
        Row(
            name,
            [Cell(f"{values[c.key] * c.scale:g}" if c.key in values else "–") for c in columns],
            "quoted",
            source,
        )
        for name, values, source in QUOTED.get((data_name, benchmark), [])
    ]
