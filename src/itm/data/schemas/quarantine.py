"""quarantine.parquet: every rejected row, with where it was read and why it went."""

from __future__ import annotations

import pandas as pd

from itm.data.schemas.faults import Fault
from itm.data.schemas.rules import one_of, table_schema, text, validate, whole

NAME = "quarantine"
REASONS = (
    "no-split",
    "no-photo",
    "empty",
    "placeholder",
    "too-short",
    "too-long",
    "repeated",
    "photo-rejected",
    "photo-missing",
    "no-caption-left",
    "empty-image",
    "not-an-image",
    "too-many-pixels",
    "damaged-image",
    "pixel-values",
    "damaged-member",
    "extra-caption",
    "other-language",
    "repeated-photo",
)


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; every reason is a known code."""
    return validate(
        table_schema(
            {
                "source": text(),
                "row": whole("int64", 0, 2**63 - 1),
                "reason": one_of(*REASONS),
                "text": text(filled=False),
                "image_id": text(filled=False),
            }
        ),
        NAME,
        frame,
    )
