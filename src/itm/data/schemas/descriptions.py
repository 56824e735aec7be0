"""Generated descriptions of images (for VSD): one or more texts an image, with who wrote them and knowing what."""

from __future__ import annotations

import pandas as pd

from itm.data.layout import SPLITS
from itm.data.schemas.rules import Fault, one_of, rows_where, table_schema, text, validate, whole

NAME = "descriptions"
CONDITIONS = ("none", "gt_caption", "generated_caption", "retrieved_caption")


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; descriptions of an image together, counted from 0 without a gap; and no description
    outside training that was written with the image's own captions at hand: those are the texts to be matched."""
    faults = validate(
        table_schema(
            {
                "image_id": text(),
                "split": one_of(*SPLITS, "hierarcaps"),
                "desc_id": whole("int8", 0, 127),
                "text": text(nullable=True),
                "generator": text(),
                "prompt_id": text(filled=False),
                "conditioned_on": one_of(*CONDITIONS),
                "caption_id": whole("Int64", 0, 2**63 - 1, nullable=True),
            },
            unique=["image_id", "desc_id"],
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    counted = frame.groupby("image_id").cumcount()
    gap = frame["desc_id"] != counted
    faults += rows_where(NAME, frame, "desc_id", gap, "must count 0, 1, 2 ... inside an image", "order")
    leaked = (frame["conditioned_on"] == "gt_caption") & (frame["split"] != "train")
    return faults + rows_where(
        NAME,
        frame,
        "image_id",
        leaked,
        "outside train a description must not be written from the image's own captions (gt_caption)",
        "leak",
    )
