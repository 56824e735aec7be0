"""texts.parquet: every text that is embedded, in one list."""

from __future__ import annotations

import pandas as pd

from itm.data.schemas.faults import Fault, place_in, rows_where
from itm.data.schemas.rules import one_of, table_schema, text, validate, whole

NAME = "texts"
KINDS = ("caption", "hierarchy", "empty")


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form and value; text_id is the row; captions, hierarchy texts, and one empty text at the end."""
    faults = validate(
        table_schema({"text_id": whole("int64", 0, 2**63 - 1), "text": text(filled=False), "kind": one_of(*KINDS)}),
        NAME,
        frame,
    )
    if faults:
        return faults
    moved = frame["text_id"] != frame.index
    faults += rows_where(NAME, frame, "text_id", moved, "must be the row number", "order")
    order = place_in(KINDS, frame["kind"])
    faults += rows_where(
        NAME, frame, "kind", order.diff() < 0, f"rows must be in the order {', '.join(KINDS)}", "order"
    )
    root = (frame["kind"] == "empty") != (frame.index == len(frame) - 1)
    faults += rows_where(NAME, frame, "kind", root, "exactly the last row is the empty text", "count")
    wrong = (frame["kind"] == "empty") & (frame["text"] != "")
    return faults + rows_where(NAME, frame, "text", wrong, "the text of kind empty must be empty", "value")
