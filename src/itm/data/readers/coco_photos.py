"""The HierarCaps photos as a data set of their own: COCO's captions of each, and the chains. A test split only."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from itm.config.parameters import Parameters
from itm.data.annotations import content_of, raise_wrong, records_of
from itm.data.readers.base import (
    CAPTION_COLUMNS,
    CAPTIONS_AN_IMAGE,
    IMAGE_COLUMNS,
    QUARANTINE_COLUMNS,
    RawData,
    need,
)
from itm.data.readers.hierarcaps import photo_id, read_chains
from itm.errors import DataError, first_few

CAPTIONS = "captions_val2017.json"


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """Photos in the order of HierarCaps; captions in the order of COCO's file, with COCO's annotation ids."""
    chains, photos = read_chains(raw)
    path = need(raw, CAPTIONS)
    captions_of = _captions(path)
    silent = [image for image in photos["image_id"] if not captions_of.get(image)]
    if silent:
        raise DataError(
            f"{path}: has no caption of {len(silent)} of {len(photos)} HierarCaps photos ({first_few(silent)}); take "
            "annotations/captions_val2017.json of COCO's annotations_trainval2017.zip",
            reason="no-captions",
        )
    five = parameters.datasets.hierarcaps.captions == "five"
    captions: list[tuple[Any, ...]] = []
    extra: list[tuple[Any, ...]] = []
    for image in photos["image_id"]:
        for position, (row, caption_id, text) in enumerate(captions_of[image]):
            if five and position >= CAPTIONS_AN_IMAGE:
                extra.append((CAPTIONS, row, "extra-caption", text, image))
            else:
                captions.append((caption_id, image, "test", position, text, -1, -1, CAPTIONS, row))
    return RawData(
        pd.DataFrame(captions, columns=list(CAPTION_COLUMNS)),
        photos.assign(split="test")[list(IMAGE_COLUMNS)],
        chains,
        rejected=pd.DataFrame(extra, columns=list(QUARANTINE_COLUMNS)),
        notes={"captions_of_other_photos": sum(map(len, captions_of.values())) - len(captions) - len(extra)},
    )


def _captions(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """(record, annotation id, text) of each photo's captions in COCO's caption file."""
    records = records_of(content_of(path), str(path), path.name, "annotations")
    found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    wrong = []
    for row, record in enumerate(records, start=1):
        try:
            image, caption_id, text = record["image_id"], record["id"], record["caption"]
        except (KeyError, TypeError) as error:
            wrong.append(f"annotation {row}: {error!r:.60}")
            continue
        if type(image) is not int or type(caption_id) is not int or not isinstance(text, str):
            wrong.append(f"annotation {row}: image_id, id and caption are no two whole numbers and a text")
        else:
            found[photo_id(image)].append((row, caption_id, text))
    raise_wrong(wrong, str(path), "annotations")
    return dict(found)
