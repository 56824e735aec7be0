"""The catalogue of source files: addresses, checksums, terms. data/catalogue.yaml is its only home."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from itm.errors import ConfigError, first_few, nearest
from itm.parse import beginning, parse_yaml

CATALOGUE = Path("data/catalogue.yaml")
"""Where the catalogue lies, from the root of the repository."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Contents(_Entry):
    """What the bytes of a file must be; None where nobody has published it."""

    bytes: int | None = Field(default=None, ge=0)
    sha256: str | None = None
    note: str = ""

    @model_validator(mode="after")
    def _is_checksum(self) -> Self:
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 '{self.sha256}' is not 64 hexadecimal digits in lower case")
        return self


class Copy(Contents):
    """A copy of a file in a mirror folder, with the contents of that copy."""

    path: str
    gzip: bool = False

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        parts = Path(self.path).parts
        if not parts or Path(self.path).is_absolute() or ".." in parts:
            raise ValueError(f"path '{self.path}' must be relative and stay inside the mirror")
        return self


class SourceFile(Contents):
    """One source file: its addresses in order of preference, mirror copies, or how a person gets it."""

    urls: list[str] = []
    mirror: list[Copy] = []
    plain_http: str = ""
    """Why an address starts with http://, where one does; all others start with https://."""
    at_most: int = Field(default=4 << 30, ge=1)
    """Bytes that an address may give of a file whose size nobody has published."""
    manual: str = ""
    package: str = ""
    """An installed Python package that holds the file, and the path inside it."""
    optional: bool = False
    generated: bool = False

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        bad = [url for url in self.urls if not url.startswith(("http://", "https://"))]
        if bad:
            raise ValueError(f"address '{bad[0]}' must start with http:// or https://")
        open_ = [url for url in self.urls if url.startswith("http://") and not _LOOPBACK.match(url)]
        if open_ and not self.plain_http:
            raise ValueError(
                f"address '{open_[0]}' starts with http://, where anybody on the way may change the file; give an "
                "https:// address, or say under `plain_http` why there is none"
            )
        if not (self.urls or self.mirror or self.manual or self.package or self.generated):
            raise ValueError("needs at least one of urls, mirror, manual, package, generated")
        return self


class DataSet(_Entry):
    """A data set: its files by name, and what a user must know before using it."""

    title: str
    use: str
    licence: str
    citation: str
    home: str = ""
    files: dict[str, SourceFile]

    @model_validator(mode="after")
    def _safe_names(self) -> Self:
        bad = [name for name in self.files if not _SAFE_NAME.fullmatch(name)]
        if bad:
            raise ValueError(f"file name '{bad[0]}' may hold letters, digits, '.', '_' and '-' only")
        return self


Catalogue = dict[str, DataSet]


def load_catalogue(path: str | Path = CATALOGUE) -> Catalogue:
    """All data sets by name; entries of the file named by ITM_CATALOGUE replace single files.

    Raises:
        ConfigError: a catalogue is missing, not YAML, or breaks its form (all faults are listed).
    """
    values = _read(Path(path))
    override = os.environ.get("ITM_CATALOGUE", "")
    if override:
        for name, entry in _read(Path(override)).items():
            known = values.get(name)
            if isinstance(known, dict) and isinstance(entry, dict):
                values[name] = {**known, **entry, "files": {**known.get("files", {}), **(entry.get("files") or {})}}
            else:
                values[name] = entry
    faults, sets = [], {}
    for name, entry in values.items():
        try:
            sets[name] = DataSet.model_validate(entry)
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                where = ".".join(str(part) for part in (name, *fault["loc"]))
                faults.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
    if faults:
        shown = "\n  ".join(faults)
        raise ConfigError(f"{path}: {len(faults)} fault{'s' * (len(faults) > 1)}\n  {shown}", reason="catalogue")
    return sets


def find_file(catalogue: Catalogue, name: str, file: str) -> SourceFile:
    """The entry of one file of one data set.

    Raises:
        ConfigError: no such data set, or it has no such file (with the nearest known name).
    """
    if name not in catalogue:
        raise ConfigError(
            f"data set '{name}' is not in the catalogue; {nearest(name, catalogue)}", reason="unknown-data-set"
        )
    files = catalogue[name].files
    if file not in files:
        raise ConfigError(
            f"data set '{name}' has no file '{file}'; {nearest(file, files)} (has: {first_few(files, limit=20)})",
            reason="unknown-file",
        )
    return files[file]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = beginning(path)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such catalogue; run from the root of the repository", reason="missing-file"
        ) from None
    values = parse_yaml(content, str(path), ConfigError)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected data sets by name, found {type(values).__name__}", reason="catalogue")
    return values
