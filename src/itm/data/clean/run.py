"""The clean stage in order: read, clean captions, verify and pack images, check contracts and leaks, write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from itm.config.parameters import Parameters
from itm.data.clean.captions import CleanCaptions, clean_captions
from itm.data.clean.leaks import find_leaks, named_in_training
from itm.data.clean.pictures import StoredImages, store_images
from itm.data.clean.quality import quality_report
from itm.data.clean.write import build_texts, typed, write_table, write_truth
from itm.data.files import together, write_json
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, QUARANTINE, RATINGS, SPLITS, TEXTS, TRUTH
from itm.data.readers import read
from itm.data.readers.base import FEWEST_PHOTOS, QUARANTINE_COLUMNS
from itm.data.schemas import check_clean
from itm.errors import DataError, first_few

log = logging.getLogger(__name__)

TRAIN = "train"


@together()
def clean_data_set(
    parameters: Parameters, raw: Path, out: Path, quality: Path, progress: Callable[[int, int], object]
) -> dict[str, Any]:
    """Write the clean tables and shards to `out` and the quality report to `quality`; returns the report.

    `progress` is called with the images done and in all.

    Raises:
        DataError: a source file is missing or not of its form; an evaluation photo is missing or damaged; a table
            breaks its contract; the splits leak and `clean.strict_leaks` is set.
    """
    name = parameters.data.name
    out.mkdir(parents=True, exist_ok=True)
    source = read(name, raw, parameters)
    captions = clean_captions(source.captions, parameters.clean)
    images, silent = _with_captions(source.images, captions.table)
    done = iter(range(1, len(images) + 1))
    side = parameters.clean.train_side
    stored = store_images(images, source.root or raw, out, side, lambda: progress(next(done), len(images)))
    if source.root is None:
        _check_evaluation_photos(stored)
    else:
        _check_splits(stored)
    kept, photoless = _with_photos(captions, stored)
    by_name = named_in_training(stored.table, source.ratings, source.hierarchies) | source.shared_by_name
    leaks = find_leaks(stored.table, stored.fingerprints, stored.thumbnails, by_name)
    for line in leaks.check(parameters.clean.strict_leaks):
        log.warning("leak: %s", line)
    texts, hierarchies = build_texts(kept, source.hierarchies)
    rejected = [source.rejected, captions.rejected, silent, stored.rejected, photoless]
    quarantine = pd.concat([table for table in rejected if len(table)] or [source.rejected], ignore_index=True)
    tables = {
        CAPTIONS: kept,
        IMAGES: stored.table,
        TEXTS: texts,
        HIERARCHIES: hierarchies,
        RATINGS: source.ratings,
        QUARANTINE: quarantine,
    }
    tables = {file: typed(table, file) for file, table in tables.items()}
    protocol = check_clean(tables, source.truth, parameters)
    for file, table in tables.items():
        write_table(table, out / file)
    write_truth(source.truth, out / TRUTH)
    report = quality_report(source, captions, stored, leaks, tables, protocol)
    write_json(quality, report)
    log.info("%s: %s", name, _summary(report))
    return report


def _with_captions(images: pd.DataFrame, captions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that can be used, and quarantine rows for training images without any caption left."""
    silent = (images["split"] == TRAIN) & ~images["image_id"].isin(captions["image_id"])
    dropped = images[silent]
    rows = pd.DataFrame(
        {
            "source": dropped["archive"],
            "row": 0,
            "reason": "no-caption-left",
            "text": "",
            "image_id": dropped["image_id"],
        }
    )
    return images[~silent].reset_index(drop=True), rows[list(QUARANTINE_COLUMNS)]


def _check_evaluation_photos(stored: StoredImages) -> None:
    """Stop when a photo that published numbers count cannot be used."""
    bad = stored.rejected[stored.rejected["split"] != TRAIN]
    if len(bad):
        shown = first_few(
            f"{row.image_id} ({row.split}, {row.source}): {row.text}" for row in bad.head(3).itertuples()
        ) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise DataError(
            f"{len(bad)} evaluation photos cannot be used, and the protocol counts them: {shown}. "
            "Check their archive with `itm data verify`",
            reason="evaluation-photo",
        )


def _check_splits(stored: StoredImages) -> None:
    """Stop when too few photos of a split can be used."""
    for split in SPLITS:
        bad, left = stored.rejected[stored.rejected["split"] == split], int((stored.table["split"] == split).sum())
        if left < FEWEST_PHOTOS:
            shown = first_few([f"{row.image_id}: {row.text}"[:200] for row in bad.itertuples()])
            raise DataError(
                f"{left} photos of the split {split} can be used, and it needs {FEWEST_PHOTOS}; not used: {shown}",
                reason="few-photos",
            )


def _with_photos(captions: CleanCaptions, stored: StoredImages) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The captions whose photo was stored, and quarantine rows for the others."""
    table = captions.table
    without = table["image_id"].isin(stored.rejected["image_id"])
    dropped = table[without]
    rows = pd.DataFrame(
        {
            "source": dropped["source"],
            "row": dropped["row"],
            "reason": "photo-rejected",
            "text": dropped["raw_text"],
            "image_id": dropped["image_id"],
        }
    )
    return table[~without].reset_index(drop=True), rows[list(QUARANTINE_COLUMNS)]


def _summary(report: dict[str, Any]) -> str:
    parts = [
        f"{split} {counts['images']} images {counts['captions']} captions" for split, counts in report["after"].items()
    ]
    return "; ".join(parts) + f"; {sum(report['quarantine'].values())} rows in quarantine"
