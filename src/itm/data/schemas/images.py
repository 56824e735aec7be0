"""images.parquet: one row an image, with its place in a shard."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from itm.data.decode import MAXIMUM_PIXELS
from itm.data.layout import SPLITS, shard
from itm.data.schemas.faults import Fault, place_in, rows_where
from itm.data.schemas.rules import LARGEST_INT32, one_of, table_schema, text, validate, whole

NAME = "images"
ORDER = (*SPLITS, "hierarcaps")


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; splits in order; every image in the shard of its split, none over another."""
    faults = validate(
        table_schema(
            {
                "image_id": text(unique=True),
                "split": one_of(*ORDER),
                "source": text(),
                "shard": text(),
                "offset": whole("int64", 512, 2**63 - 1),
                "size": whole("int64", 1, 2**63 - 1),
                "width": whole("int32", 1, LARGEST_INT32),
                "height": whole("int32", 1, LARGEST_INT32),
                "mode": one_of("RGB", "L"),
                "sha256": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$", error="64 hexadecimal digits")),
            }
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    order = place_in(ORDER, frame["split"])
    faults += rows_where(
        NAME, frame, "split", order.diff() < 0, f"rows must be in the order {', '.join(ORDER)}", "order"
    )
    misplaced = frame["shard"] != frame["split"].map(shard)
    faults += rows_where(NAME, frame, "shard", misplaced, "must be the shard of the split", "value")
    large = frame["width"].astype("int64") * frame["height"].astype("int64") > MAXIMUM_PIXELS
    faults += rows_where(NAME, frame, "width", large, f"width x height must be at most {MAXIMUM_PIXELS}", "range")
    ordered = frame.sort_values(["shard", "offset"])
    end = (ordered["offset"] + ordered["size"]).groupby(ordered["shard"]).shift()
    over = (end > ordered["offset"]).reindex(frame.index)
    return faults + rows_where(NAME, frame, "offset", over, "must not lie inside the image before", "range")
