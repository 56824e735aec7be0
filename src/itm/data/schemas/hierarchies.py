"""hierarchies.parquet: four texts an image, from generic to specific."""

from __future__ import annotations

import pandas as pd

from itm.data.schemas.faults import Fault, fault
from itm.data.schemas.rules import table_schema, text, validate, whole

NAME = "hierarchies"
LEVELS = (1, 2, 3, 4)


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; every chain has the levels 1 to 4, once each and in order."""
    faults = validate(
        table_schema(
            {
                "image_id": text(),
                "level": whole("int8", LEVELS[0], LEVELS[-1]),
                "text": text(),
                "text_id": whole("int64", 0, 2**63 - 1, unique=True),
            }
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    levels = frame.groupby("image_id", sort=False)["level"].agg(tuple)
    bad = [f"{image} has {', '.join(map(str, found))}" for image, found in levels.items() if tuple(found) != LEVELS]
    return fault(NAME, "level", "every image has the levels 1, 2, 3, 4 in this order", "count", bad)
