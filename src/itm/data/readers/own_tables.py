"""Tables of photos and captions as people have them: CSV, TSV, JSONL, parquet, WebDataset tars."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm.data.annotations import text_of
from itm.data.archives import Archive
from itm.data.decode import SUFFIXES
from itm.data.files import check_columns, open_parquet
from itm.errors import DataError, first_few

FILE = ("file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "path")
CAPTION = ("caption", "title", "text", "captions", "texts")
SPLIT = ("split",)
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
TAR = ".tar"
_DELIMITERS = {".csv": ",\t;", ".tsv": "\t"}


@dataclass(frozen=True)
class Row:
    """A photo's name and a caption as a table gives them; `fault` is a reason code where they cannot be used.

    file: relative to the table's folder; of a tar, the name in it. number: of the line or record, from 1.
    """

    number: int
    file: str
    text: str
    split: str = ""
    fault: str = ""


def read_rows(path: Path) -> list[Row]:
    """The rows of a table or tar, in its order; what is no row of its form has the fault "malformed".

    Raises:
        DataError: the file is no table of its kind, or has no column for photos or captions.
    """
    if path.suffix.lower() == TAR:
        return _tar(path)
    read = {".jsonl": _jsonl, ".parquet": _parquet}.get(path.suffix.lower(), _csv)
    return list(read(path))


def _csv(path: Path) -> Iterator[Row]:
    """Rows of a CSV with a header; the delimiter is the one that gives the columns that are needed."""
    text = _text(path)
    header: list[str] = []
    for delimiter in _DELIMITERS[path.suffix.lower()]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            names = next(reader, [])
        except csv.Error:
            continue
        header = header or names
        if _column(names, FILE) and _column(names, CAPTION):
            break
    else:
        raise _no_columns(path, header)
    names = [name.strip().lower() for name in names]
    places = [names.index(column) if column else -1 for column in _columns(path, names)]
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the next row can be read
            yield Row(reader.line_num, "", str(error), fault="malformed")
            continue
        if len(cells) != len(names):
            if any(cell.strip() for cell in cells):
                found = f"{len(cells)} fields instead of {len(names)}; one that holds '{delimiter}' needs quotes"
                yield Row(reader.line_num, "", found, fault="malformed")
            continue
        file, caption, split = (cells[place] if place >= 0 else "" for place in places)
        yield Row(reader.line_num, file, caption, split)


def _jsonl(path: Path) -> Iterator[Row]:
    records: list[tuple[int, Any]] = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            try:
                records.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                records.append((number, f"not JSON ({error})"))
    yield from _records(path, records)


def _parquet(path: Path) -> Iterator[Row]:
    with open_parquet(path, remedy="give a whole Parquet file") as file:
        names = file.schema_arrow.names
        wanted = [name for name in _columns(path, names) if name]
        check_columns(path, names, wanted)
        records = file.read(wanted).to_pylist()
    yield from _records(path, list(enumerate(records, start=1)))


def _records(path: Path, records: list[tuple[int, Any]]) -> Iterator[Row]:
    """Rows of JSON objects, or of what stands in their place."""
    objects = [record for _, record in records if isinstance(record, dict)]
    keys = list(dict.fromkeys(str(key) for record in objects for key in record))
    file, caption, split = _columns(path, keys)
    for number, record in records:
        if not isinstance(record, dict):
            said = record if isinstance(record, str) else f"{type(record).__name__}, not an object"
            yield Row(number, "", said, fault="malformed")
            continue
        name = record.get(file)
        if isinstance(name, str):
            yield from _captions(number, name, record.get(caption), record.get(split))
        else:
            yield Row(number, "", f"{file} is {type(name).__name__}, not text", fault="malformed")


def _captions(number: int, file: str, found: Any, split: Any = None) -> Iterator[Row]:
    """The rows of a record: its caption, or each of a list of captions."""
    for text in found if isinstance(found, list) and found else [found]:
        if isinstance(text, str | None):
            yield Row(number, file, text or "", split if isinstance(split, str) else "")
        else:
            yield Row(number, file, f"the caption is {type(text).__name__}, not text", fault="malformed")


def _tar(path: Path) -> list[Row]:
    """Rows of a WebDataset tar: members with one name up to the first point of the file are one sample."""
    samples: dict[str, dict[str, str]] = {}
    with Archive(path) as archive:
        for member in archive.names():
            folder, slash, name = member.rpartition("/")
            key, _, suffix = name.partition(".")
            if key:  # "._x.jpg" are notes that macOS adds
                samples.setdefault(f"{folder}{slash}{key}", {})[f".{suffix.lower()}"] = member
        return [row for number, members in enumerate(samples.values(), 1) for row in _sample(archive, number, members)]


def _sample(archive: Archive, number: int, members: dict[str, str]) -> Iterable[Row]:
    photo = next((members[suffix] for suffix in SUFFIXES if suffix in members), "")
    if not photo:
        return [Row(number, "", f"no photo with {first_few(members.values())}", fault="malformed")]
    if ".txt" in members:
        try:
            return [Row(number, photo, archive.read(members[".txt"]).decode("utf-8-sig"))]
        except UnicodeDecodeError:
            return [Row(number, photo, f"{members['.txt']} is not UTF-8", fault="malformed")]
    if ".json" not in members:
        return [Row(number, photo, "")]
    try:
        record = json.loads(archive.read(members[".json"]))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return [Row(number, photo, f"{members['.json']} is no JSON object", fault="malformed")]
    found = next((record[name] for name in CAPTION if name in record), None)
    return _captions(number, photo, found, record.get(SPLIT[0]))


def _columns(path: Path, names: list[str]) -> tuple[str, str, str]:
    """The columns of file, caption and split ("" = none), as the table writes them."""
    file, caption = _column(names, FILE), _column(names, CAPTION)
    if not (file and caption):
        raise _no_columns(path, names)
    split = _column(names, SPLIT)
    check_columns(
        path,
        [name.strip().lower() for name in names],
        [each.strip().lower() for each in (file, caption, split) if each],
    )
    return file, caption, split


def _column(names: Iterable[str], usual: tuple[str, ...]) -> str:
    """The first of the usual names that there is, whatever its case.

    >>> _column(["Title", "filepath"], CAPTION)
    'Title'
    """
    known = {name.strip().lower(): name for name in reversed(list(names))}
    return next((known[name] for name in usual if name in known), "")


def _no_columns(path: Path, names: list[str]) -> DataError:
    lacking = [
        f"{what} ({', '.join(usual[:6])})"
        for what, usual in (("the photo's file", FILE), ("its caption", CAPTION))
        if not _column(names, usual)
    ]
    found = first_few([name[:40] for name in names], limit=8) if names else "nothing"
    return DataError(
        f"{path}: no column for {' and '.join(lacking) or 'both in one row'}; it has {found}; give the columns these "
        "names in its first line",
        reason="columns",
    )


def _text(path: Path) -> str:
    """The text of a table, without the null characters that no caption needs."""
    remedy = "save the table as UTF-8 (in Excel: CSV UTF-8)"
    return text_of(path.read_bytes(), str(path), remedy).replace("\0", "")
