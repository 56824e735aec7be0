"""data/scored/captions.parquet: the descriptiveness of every caption."""

from __future__ import annotations

import numpy as np
import pandas as pd

from itm.data.schemas.rules import LARGEST_INT32, Fault, number, rows_where, table_schema, validate, whole

NAME = "scored"


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; scores are finite, keywords are not more than words."""
    largest, largest_single = float(np.finfo(np.float64).max), float(np.finfo(np.float32).max)
    faults = validate(
        table_schema(
            {
                "caption_id": whole("int64", 0, 2**63 - 1, unique=True),
                "descriptiveness": number("float64", 0, largest),
                "normalised": number("float32", -largest_single, largest_single),
                "words": whole("int32", 0, LARGEST_INT32),
                "keywords": whole("int32", 0, LARGEST_INT32),
            }
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    more = frame["keywords"] > frame["words"]
    return rows_where(NAME, frame, "keywords", more, "must not be more than the words", "range")
