"""Annotation files of any origin as texts, rows and records: one encoding, a checked form, one short message."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itm.data.archives import Archive
from itm.data.files import readable
from itm.errors import DataError, first_few, shown
from itm.parse import parse_json

LARGEST = 4 << 30
"""Bytes of a file of annotations; COCO's captions take 144 MB."""
REMEDY = "fetch the file again, or save it as UTF-8"
_AGAIN = "fetch the file again"


def content_of(path: Path, file: str = "", remedy: str = _AGAIN) -> bytes:
    """The bytes of a file: as it is, out of its .gz, or with `file` that member of an archive, in whatever folder.

    Raises:
        DataError: the file or the member is missing, damaged, or too large.
    """
    if file and path.name != file:
        with Archive(path) as archive:
            return archive.find(file)
    with readable(path, remedy), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{path}: larger than {LARGEST >> 30} GiB; {remedy}", reason="too-large")
    return content


def text_of(content: bytes, where: str, remedy: str = REMEDY) -> str:
    """The text of a file in UTF-8, or in UTF-16 where it begins so; without the mark at its beginning.

    Raises:
        DataError: it is in neither; `where` names the file, `remedy` says what to do.
    """
    encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "UTF-8"
    try:
        return content.decode("utf-16" if encoding == "UTF-16" else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: not {encoding}; {remedy}", reason="encoding") from None


def lines_of(content: bytes, where: str) -> list[str]:
    """The lines of a text that hold anything, whichever way they end."""
    text = text_of(content, where).replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in text.split("\n") if line.strip()]


def rows_of(content: bytes, where: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV whose header has these columns, and maybe others.

    Raises:
        DataError: the header lacks a column or has one twice; or rows have more or fewer fields, or stray quotes.
    """
    reader = csv.reader(io.StringIO(text_of(content, where), newline=""), strict=True)
    rows, wrong, number = [], [], 0
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if header is None:
                raise DataError(f"{where}: no first line with columns ({error}); {_AGAIN}", reason="columns") from None
            number += 1
            wrong.append(f"row {number}: {error} (line {reader.line_num})")
            continue
        if header is None:
            header = cells
            if len(set(header)) != len(header) or not set(columns) <= set(header):
                break
        elif cells:
            number += 1
            if len(cells) != len(header):
                wrong.append(f"row {number}: {len(cells)} fields instead of {len(header)} (line {reader.line_num})")
            rows.append(dict(zip(header, cells, strict=False)))
    if header is None or len(set(header)) != len(header) or not set(columns) <= set(header):
        found = shown(header, 200) if header else "none"
        raise DataError(f"{where}: columns {found}; expected {', '.join(columns)}; {_AGAIN}", reason="columns")
    raise_wrong(wrong, where, "rows")
    return rows


def records_of(content: bytes, where: str, file: str, key: str = "", unread: Sequence[str] = ()) -> list[Any]:
    """The list that a JSON text is, or has under `key`; `file` is its name, `where` says where it lies.

    Keys that are `unread` are left out, wherever they stand.

    Raises:
        DataError: it is not JSON, or of another form.
    """
    try:
        values = parse_json(content, where, largest=LARGEST, unread=unread)
    except DataError as error:
        begins = shown(content.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")[:24])
        raise DataError(f"{error}; it begins with {begins}: {_AGAIN}", reason=error.reason) from None
    if key and (not isinstance(values, dict) or key not in values):
        has = first_few((shown(name) for name in values), len(values)) if isinstance(values, dict) else ""
        has = f"is a {type(values).__name__}{f' of {has}' if has else ''}"
        raise DataError(f"{where} is not JSON with `{key}` ({has}); {_AGAIN}", reason="form")
    found = values[key] if key else values
    if not isinstance(found, list):
        raise DataError(
            f"{where}: {f'`{key}` of ' if key else ''}{file} is {type(found).__name__}, not a list"
            f"{'' if key else ' of articles'}; {_AGAIN}",
            reason="form",
        )
    return found


def raise_wrong(wrong: Sequence[str], where: str, what: str) -> None:
    """Stop if anything is wrong: how many, and the first few."""
    if wrong:
        raise DataError(
            f"{where}: {len(wrong)} {what} are not of the published form: {first_few(wrong)}; {_AGAIN}", reason="form"
        )


SPLITS = ("train", "restval", "val", "test")
_UNREAD = ("tokens", "sentids")
"""Words of the captions, two thirds of what Karpathy's JSON would take in memory, and ids that sentences have too."""


def karpathy_records(
    content: bytes, where: str, file: str, *, numbered: bool = False, whole: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The `images` of a JSON file in Karpathy's form: filename, split, and sentences with a text `raw` each.

    Args:
        numbered: sentences have no ids `sentid`.
        whole: names of whole numbers that each image has, such as `imgid`.

    Raises:
        DataError: it is not of this form; such images are counted.
    """
    records = records_of(content, where, file, "images", unread=_UNREAD)
    faults = ((row, _fault(record, numbered, whole)) for row, record in enumerate(records, start=1))
    wrong = [f"image {row}: {fault}" for row, fault in faults if fault]
    if wrong:
        raise DataError(
            f"{where}: {len(wrong)} images of {file} are not of their form: {first_few(wrong)}; {_AGAIN}", reason="form"
        )
    return records


def _fault(record: Any, numbered: bool, whole: Sequence[str]) -> str:
    if not isinstance(record, dict):
        return f"is {type(record).__name__}, not an object"
    if missing := [key for key in ("filename", "split", "sentences", *whole) if key not in record]:
        return f"has no {', '.join(missing)}"
    if record["split"] not in SPLITS:
        return f"split {shown(record['split'])} is none of {', '.join(SPLITS)}"
    if not isinstance(record["filename"], str) or not record["filename"]:
        return f"filename {shown(record['filename'])} is no name"
    for key in whole:
        if type(record[key]) is not int:
            return f"{key} {shown(record[key])} is no whole number"
    sentences = record["sentences"]
    if not isinstance(sentences, list) or not sentences:
        return "has no sentences"
    for sentence in sentences:
        if not isinstance(sentence, dict) or not isinstance(sentence.get("raw"), str):
            return "a sentence has no text `raw`"
        if not numbered and type(sentence.get("sentid")) is not int:
            return f"sentid {shown(sentence.get('sentid'))} is no whole number"
    return ""
