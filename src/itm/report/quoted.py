"""Published numbers beside ours. None of them was run here: each row is marked as quoted and names its source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from itm.report.columns import Column
from itm.report.tables import Cell, Row

HIERARCAPS = (
    "hierarcaps",
    {
        "radius_levels.precision": "hierarcaps/precision",
        "radius_levels.recall": "hierarcaps/recall",
        "tau_d": "hierarcaps/tau_d",
    },
)
COMPARABLE: dict[tuple[str, str], tuple[str, Mapping[str, str], int]] = {
    ("flickr8k", "hierarcaps"): (*HIERARCAPS, 1000),
    ("coco", "hierarcaps"): (*HIERARCAPS, 1000),
    ("coco", "retrieval"): ("coco", {r"(\w+)\.(r\d+)": r"coco_5k/\1/\2", "rsum": "coco_5k/rsum"}, 5000),
    ("coco", "cxc"): ("cxc", {r"(\w+)\.(\w+)": r"cxc/\1/\2"}, 5000),
    ("flickr30k", "retrieval"): ("flickr30k", {r"(\w+)\.(r\d+)": r"flickr30k/\1/\2", "rsum": "flickr30k/rsum"}, 1000),
}
"""By data set and benchmark: the quoted benchmark that has the same photos, texts and protocol; the quoted name of
each metric key (patterns); and the images that it must have been evaluated on."""


def quoted_rows(data_name: str, benchmark: str, columns: Sequence[Column], protocol: Mapping[str, Any]) -> list[Row]:
    """The quoted rows of a table; none where photos or protocol differ. A number the source lacks is a dash."""
    from itm.evaluation.published.quoted import QUOTED

    name, names, images = COMPARABLE.get((data_name, benchmark), ("", {}, -1))
    if protocol.get("images") != images or protocol.get("split") != "test":
        return []
    keys = [_quoted_key(column.key, names) for column in columns]
    return [
        Row(
            each.model,
            [_cell(c, each.values.get(k)) for c, k in zip(columns, keys, strict=True)],
            "quoted",
            each.source,
        )
        for each in QUOTED
        if each.benchmark == name and any(key in each.values for key in keys)
    ]


def _quoted_key(key: str, names: Mapping[str, str]) -> str:
    for pattern, quoted in names.items():
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(quoted)
    return ""


def _cell(column: Column, value: float | None) -> Cell:
    """As printed; correlations that are printed in percent are shown as ours, as fractions."""
    if value is None:
        return Cell("–")
    return Cell(f"{value / 100:g}" if column.unit == "correlation" and abs(value) > 1 else f"{value:g}")
