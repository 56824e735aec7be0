"""What a broken contract says: table, column, rule, how many rows, the first of them, a reason code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from itm.data.files import write_json
from itm.errors import DataError, first_few

_KEPT = 10


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
    write_json(record, [asdict(each) for each in faults])
    shown = "\n  ".join(str(each) for each in faults)
    raise DataError(
        f"{what}: {len(faults)} broken rule{'s' * (len(faults) > 1)} (all in {record})\n  {shown}",
        reason=faults[0].reason,
    )
