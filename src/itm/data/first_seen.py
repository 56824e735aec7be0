"""Checksums that no publisher states: recorded at the first download, binding ever after."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from itm.data.catalogue import CATALOGUE, Contents
from itm.data.files import read_json, write_json
from itm.errors import DataError

RECORD = CATALOGUE.with_name("catalogue.lock.json")
"""The record; commit it, so that everybody's first download is the same."""


def recorded(name: str, file: str, path: Path | None = None) -> Contents | None:
    """Bytes and sha256 of the first download of a file, or None where there was none.

    Raises:
        DataError: the record is not JSON of the expected form.
    """
    path = path or RECORD
    if not path.is_file():
        return None
    entry = read_json(path)
    if not isinstance(entry, dict):
        raise DataError(
            f"{path}: expected an object, found {type(entry).__name__}; restore it from git", reason="record"
        )
    found = entry.get(f"{name}/{file}")
    if found is None:
        return None
    try:
        return Contents(bytes=found["bytes"], sha256=found["sha256"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path}: entry '{name}/{file}' is damaged; restore it from git", reason="record") from None


def record(name: str, file: str, size: int, sha256: str, origin: str, path: Path | None = None) -> None:
    """Add a first download to the record. Stages that run side by side wait for each other."""
    path = path or RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        entries = read_json(path) if path.is_file() else {}
        entries[f"{name}/{file}"] = {"bytes": size, "sha256": sha256, "from": origin}
        write_json(path, entries)
