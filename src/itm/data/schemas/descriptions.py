"""Generated descriptions of images (for VSD): one or more texts an image, with the model that wrote them."""

from __future__ import annotations

import pandas as pd

from itm.data.layout import SPLITS
from itm.data.schemas.faults import Fault, rows_where
from itm.data.schemas.rules import one_of, table_schema, text, validate, whole

NAME = "descriptions"


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; positions inside an image count from 0 without a gap."""
    faults = validate(
        table_schema(
            {
                "image_id": text(),
                "split": one_of(*SPLITS),
                "position": whole("int8", 0, 127),
                "text": text(),
                "generator": text(),
            },
            unique=["image_id", "position"],
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    counted = frame.groupby("image_id").cumcount()
    gap = frame["position"] != counted
    return rows_where(NAME, frame, "position", gap, "must count 0, 1, 2 ... inside an image", "order")
