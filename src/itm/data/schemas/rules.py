"""Rules that several tables share, and pandera's findings as faults of this project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from itm.data.schemas.faults import Fault

if TYPE_CHECKING:
    import pandera.pandas as pa

LARGEST_INT32 = 2**31 - 1

_REASONS = {
    "column_in_dataframe": "missing-column",
    "column_in_schema": "unknown-column",
    "column_ordered": "order",
    "not_nullable": "null",
    "field_uniqueness": "duplicate",
    "multiple_fields_uniqueness": "duplicate",
}
_KEPT = 10


def text(nullable: bool = False, unique: bool = False, filled: bool = True) -> pa.Column:
    """A column of text; `filled` texts are not empty."""
    import pandera.pandas as pa

    checks = [pa.Check.str_length(min_value=1, error="not empty")] if filled else []
    return pa.Column(str, checks, nullable=nullable, unique=unique)


def one_of(*values: str) -> pa.Column:
    """A column of text with few allowed values."""
    import pandera.pandas as pa

    return pa.Column(str, pa.Check.isin(values, error=f"one of {', '.join(values)}"))


def whole(kind: str, low: int, high: int, unique: bool = False, nullable: bool = False) -> pa.Column:
    """A column of whole numbers low..high."""
    import pandera.pandas as pa

    check = pa.Check.in_range(low, high, error=f"{low} to {high}")
    return pa.Column(kind, check, unique=unique, nullable=nullable)


def number(kind: str, low: float, high: float) -> pa.Column:
    """A column of numbers low..high."""
    import pandera.pandas as pa

    return pa.Column(kind, pa.Check.in_range(low, high, error=f"{low:g} to {high:g}"))


def table_schema(columns: dict[str, Any], **options: Any) -> pa.DataFrameSchema:
    """A schema with exactly these columns, in this order."""
    import pandera.pandas as pa

    return pa.DataFrameSchema(columns, strict=True, ordered=True, **options)


def validate(schema: pa.DataFrameSchema, name: str, frame: pd.DataFrame) -> list[Fault]:
    """Every rule of the schema that the frame breaks, as faults, in the schema's order."""
    from pandera.errors import SchemaErrors

    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        return _translate(name, frame, error.failure_cases)
    return []


def _translate(name: str, frame: pd.DataFrame, cases: pd.DataFrame) -> list[Fault]:
    faults = []
    for (column, check), rows in cases.groupby(["column", "check"], sort=False, dropna=False):
        code, rule = _explain(str(check))
        where = str(column) if column in frame else ""
        faults.append(Fault(name, where, rule, code, len(rows), tuple(_cases(rows))))
    return faults


def _explain(check: str) -> tuple[str, str]:
    """The reason code and the rule in words."""
    for prefix, code in _REASONS.items():
        if check.startswith(prefix):
            return code, _WORDS[code]
    if check.startswith("dtype("):
        return "type", f"must be {check[7:-2]}"
    return ("range" if " to " in check else "value"), f"must be {check}"


_WORDS = {
    "missing-column": "the column is missing",
    "unknown-column": "the column does not belong here",
    "order": "the columns are out of order",
    "null": "must not be null",
    "duplicate": "must not come twice",
}


def _cases(rows: pd.DataFrame) -> Iterable[str]:
    for at, value in zip(rows["index"].head(_KEPT), rows["failure_case"], strict=False):
        yield repr(value) if pd.isna(at) else f"row {int(at)} = {value!r}"
