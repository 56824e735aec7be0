"""Rules that several tables share, and pandera's findings as faults of this project."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextvars import Context
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from itm.data.files import write_json
from itm.errors import DataError, first_few

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


@dataclass(frozen=True)
class Fault:
    """One rule that a table breaks. `reason` is a stable code: missing-column, unknown-column, type, null,
    duplicate, value, range, reference, count, order, size, identity.
    """

    table: str
    column: str
    rule: str
    reason: str
    count: int
    cases: tuple[str, ...]

    def __str__(self) -> str:
        where = f"{self.table}.{self.column}" if self.column else self.table
        cases = f": {first_few(self.cases, max(self.count, len(self.cases)))}" if self.cases else ""
        return f"{where}: {self.rule} [{self.reason}], {self.count} row{'s' * (self.count != 1)}{cases}"


def fault(table: str, column: str, rule: str, reason: str, cases: Sequence[object]) -> list[Fault]:
    """A list with the fault of these cases, or no fault where there are none."""
    if not len(cases):
        return []
    return [Fault(table, column, rule, reason, len(cases), tuple(str(case) for case in cases[:_KEPT]))]


def rows_where(table: str, frame: pd.DataFrame, column: str, bad: pd.Series, rule: str, reason: str) -> list[Fault]:
    """The fault of the rows that `bad` marks, with their row numbers and values."""
    rows = frame.index[bad.to_numpy()]
    values = frame.loc[rows[:_KEPT], column].astype(object)
    cases = [f"row {row} = {value!r}" for row, value in values.items()]
    return [Fault(table, column, rule, reason, len(rows), tuple(cases))] if len(rows) else []


def place_in(order: Sequence[str], column: pd.Series) -> pd.Series:
    """The place of each value in `order`, as whole numbers."""
    return column.map({value: place for place, value in enumerate(order)}).astype("int8")


def raise_faults(faults: Iterable[Fault], what: str, stage: str = "clean") -> None:
    """Do nothing without faults; else tell all of them, and leave them as JSON for machines.

    Args:
        what: the thing that breaks its contract, for the first line.
        stage: the JSON file is <stage>-faults.json in the folder of stage logs.

    Raises:
        DataError: there is a fault; its reason is that of the first.
    """
    faults = list(faults)
    if not faults:
        return
    record = Path(os.environ.get("ITM_LOGS", "logs/stages")) / f"{stage}-faults.json"
    Context().run(write_json, record, [asdict(each) for each in faults])  # now: the outputs around it will not be
    shown = "\n  ".join(str(each) for each in faults)
    raise DataError(
        f"{what}: {len(faults)} broken rule{'s' * (len(faults) > 1)} (all in {record})\n  {shown}",
        reason=faults[0].reason,
    )
