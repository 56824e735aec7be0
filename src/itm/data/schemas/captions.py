"""captions.parquet: one row a caption of a split."""

from __future__ import annotations

import pandas as pd

from itm.data.layout import SPLITS
from itm.data.schemas.faults import Fault, place_in, rows_where
from itm.data.schemas.rules import LARGEST_INT32, one_of, table_schema, text, validate, whole

NAME = "captions"


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; splits in order; positions inside an image that rise."""
    faults = validate(
        table_schema(
            {
                "caption_id": whole("int64", 0, 2**63 - 1, unique=True),
                "image_id": text(),
                "split": one_of(*SPLITS),
                "position": whole("int8", 0, 127),
                "text": text(filled=False),
                "raw_text": text(filled=False),
                "level": whole("int8", -1, 127),
                "multiplicity": whole("int32", -1, LARGEST_INT32),
            }
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    empty = (frame["text"] == "") & (frame["split"] == "train")
    faults += rows_where(NAME, frame, "text", empty, "a training caption must not be empty", "value")
    order = place_in(SPLITS, frame["split"])
    faults += rows_where(
        NAME, frame, "split", order.diff() < 0, f"rows must be in the order {', '.join(SPLITS)}", "order"
    )
    new_image = frame["image_id"] != frame["image_id"].shift()
    falling = ~new_image & (frame["position"].diff() <= 0)
    faults += rows_where(NAME, frame, "position", falling, "must rise inside an image", "order")
    torn = new_image & frame["image_id"].duplicated()
    return faults + rows_where(NAME, frame, "image_id", torn, "the captions of an image must be together", "order")
