"""The quality report: counts before and after cleaning, and findings in between."""

from __future__ import annotations

from typing import Any

import pandas as pd

from itm.data.clean.captions import CleanCaptions
from itm.data.clean.leaks import LeakReport
from itm.data.clean.pictures import StoredImages
from itm.data.clean.text import fault, normalise
from itm.data.layout import CAPTIONS, IMAGES, QUARANTINE, RATINGS
from itm.data.readers.base import RawData

_LISTED = 20


def quality_report(
    source: RawData,
    captions: CleanCaptions,
    stored: StoredImages,
    leaks: LeakReport,
    tables: dict[str, pd.DataFrame],
    protocol: dict[str, Any],
) -> dict[str, Any]:
    """The report as plain JSON values; the same data gives the same report.

    `evaluation_flags` are rows of dev and test that training would reject; they stay, for the protocol counts them.
    """
    quarantine = tables[QUARANTINE]
    return {
        "before": _counts(source.images, source.captions),
        "after": _counts(tables[IMAGES], tables[CAPTIONS]),
        "quarantine": _tally(quarantine["reason"]),
        "quarantine_examples": _examples(quarantine),
        "captions": captions.figures,
        "images": {
            "modes": _tally(stored.table["mode"]),
            "stored_anew": stored.rewritten,
            "sizes": _sizes(stored.table),
        },
        "duplicates": leaks.figures(),
        "ratings": _tally(tables[RATINGS]["kind"]),
        "protocol": protocol,
        "notes": source.notes,
    }


def _counts(images: pd.DataFrame, captions: pd.DataFrame) -> dict[str, dict[str, int]]:
    splits = dict.fromkeys([*images["split"], *captions["split"]])
    return {
        split: {
            "images": int((images["split"] == split).sum()),
            "captions": int((captions["split"] == split).sum()),
        }
        for split in splits
    }


def _tally(column: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in sorted(column.value_counts().items())}


def _sizes(images: pd.DataFrame) -> dict[str, Any]:
    if not len(images):
        return {}
    sides = images[["width", "height"]]
    return {
        "smallest_side": int(sides.to_numpy().min()),
        "largest_side": int(sides.to_numpy().max()),
        "bytes": int(images["size"].sum()),
    }


def _examples(quarantine: pd.DataFrame) -> dict[str, list[str]]:
    """A few rows of every reason, odd ones first: texts that are faulty in themselves, then names without ".jpg"."""
    found = {}
    for reason, rows in quarantine.groupby("reason"):
        odd = [
            bool(fault(normalise(text), 100, 2)) or "." in image
            for text, image in zip(rows["text"], rows["image_id"], strict=True)
        ]
        ordered = rows.assign(odd=odd).sort_values("odd", ascending=False, kind="stable")
        shown = ordered.head(_LISTED).itertuples()
        found[str(reason)] = [f"{row.source}:{row.row} {row.image_id}: {row.text}" for row in shown]
    return dict(sorted(found.items()))
