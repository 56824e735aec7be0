"""HierarCaps test set: 1,000 photos, each with four texts from generic to specific."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from itm.data.annotations import content_of, raise_wrong, rows_of
from itm.data.archives import Archive
from itm.data.readers.base import HIERARCHY_COLUMNS, IMAGE_COLUMNS, need
from itm.errors import shown

CHAINS, PHOTOS = "hierarcaps.csv", "hierarcaps-images.zip"
LEVELS = 4
_COCO_ID = re.compile(r"COCO_val2014_(\d{12})\.jpg$")


def read_chains(raw: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Chains (HIERARCHY_COLUMNS, four rows each) and their photos (IMAGE_COLUMNS, split "hierarcaps").

    Raises:
        DataError: the header, a chain or an address is not of the published form (all such rows are counted).
    """
    path = need(raw, CHAINS)
    table = rows_of(content_of(path), str(path), ("id", "captions", "image_url"))
    rows = [(row, _COCO_ID.search(row["image_url"])) for row in table]
    with Archive(need(raw, PHOTOS)) as archive:
        photos = archive.by_name({match[0] for _, match in rows if match})
    chains: list[tuple[str, int, str]] = []
    images: list[tuple[str, str, str, str, str]] = []
    wrong: list[str] = []
    for number, (row, match) in enumerate(rows, start=1):
        texts = [text.strip() for text in row["captions"].split("=>")]
        if match is None:
            wrong.append(f"row {number}: image_url {shown(row['image_url'])} names no COCO_val2014 photo")
        elif len(texts) != LEVELS or not all(texts):
            wrong.append(f"row {number}: {len(texts)} levels, {texts.count('')} of them empty, instead of {LEVELS}")
        else:
            image_id = photo_id(match[1])
            chains += [(image_id, level, text) for level, text in enumerate(texts, start=1)]
            images.append((image_id, "hierarcaps", "hierarcaps", PHOTOS, photos.get(match[0], "")))
    raise_wrong(wrong, str(path), "rows")
    chain_table = pd.DataFrame(chains, columns=list(HIERARCHY_COLUMNS)).astype({"level": np.int8})
    return chain_table, pd.DataFrame(images, columns=list(IMAGE_COLUMNS))


def photo_id(coco_id: str | int) -> str:
    """The image id of a HierarCaps photo; it differs from COCO's, since both may be in one data set.

    >>> photo_id(139)
    'hierarcaps-000000000139'
    """
    return f"hierarcaps-{int(coco_id):012d}"
