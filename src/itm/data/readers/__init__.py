"""One reader a data set: its source files -> raw tables. Readers find faults of form; cleaning judges content."""

from itm.data.readers.base import RawData, read

__all__ = ["RawData", "read"]
