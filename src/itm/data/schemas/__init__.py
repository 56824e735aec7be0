"""Contracts of the tables: one schema module a table, checked where a stage hands it on, all faults at once."""

from itm.data.schemas.check import check_clean, check_table
from itm.data.schemas.rules import Fault, raise_faults

__all__ = ["Fault", "check_clean", "check_table", "raise_faults"]
