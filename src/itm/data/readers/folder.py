"""A user's own photos, read where they lie: a table of photos and captions beside them, or WebDataset tars.

`data.path` is the folder (or one table); `datasets.folder.table` says which table or tars in it. No published list says
which photos count, so that a bad one goes to quarantine in every split.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from itm.config.data import FolderParameters
from itm.config.parameters import Parameters
from itm.data.clean.text import normalise
from itm.data.layout import SPLITS
from itm.data.readers.base import CAPTION_COLUMNS, FEWEST_PHOTOS, IMAGE_COLUMNS, QUARANTINE_COLUMNS, RawData
from itm.data.readers.own_tables import TABLES, TAR, read_rows
from itm.errors import DataError, first_few, nearest, printable

log = logging.getLogger(__name__)

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_MOST_CAPTIONS = 128
_LONGEST_ID = 90


@dataclass(frozen=True)
class Source:
    """A data set of the user's: its folder, and the tables or tars in it."""

    folder: Path
    files: tuple[Path, ...]

    @cached_property
    def listing(self) -> dict[str, list[str]]:
        """The files of the folder by what is left of their names without case, form of accents, folder and suffix."""
        found: dict[str, list[str]] = {}
        for where, folders, names in os.walk(self.folder):
            folders.sort()
            for name in sorted(names):
                path = (Path(where) / name).relative_to(self.folder).as_posix()
                found.setdefault(_alike(path), []).append(path)
        return found

    def near(self, name: str) -> str:
        """A hint for a photo that is not there: files whose names differ in case, accents, folder or suffix."""
        found = [path for path in self.listing.get(_alike(name), []) if not path.lower().endswith((*TABLES, TAR))]
        found.sort(key=lambda path: _nfc(path).casefold() != _nfc(name).casefold())
        if not found:
            return ""
        form = " (the same letters in another Unicode form)" if _nfc(found[0]) == _nfc(name) else ""
        return f"; there is {first_few([repr(path) for path in found], limit=2)}{form}"


def find(path: Path, table: str = "") -> Source:
    """The tables or tars of a folder, or the one that `path` is; `table` is a name or pattern in the folder.

    Without it: the only table of the folder, else its tars, else the metadata.* files below it.

    Raises:
        DataError: nothing is there, or it is not plain which table is meant.
    """
    if path.is_file():
        if path.suffix.lower() not in (*TABLES, TAR):
            raise DataError(f"data.path: {path} is no table; known: {', '.join((*TABLES, TAR))}", reason="form")
        return Source(path.parent, (path,))
    if not path.is_dir():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, beside) if 0 < len(beside) <= 200 else "give a folder, or a table of photos in it"
        raise DataError(f"data.path: {path}: no such file or folder; {hint[:300]}", reason="missing-file")
    here = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    if table:
        found = [path / table] if (path / table).is_file() else sorted(path.glob(table))
        wanted = [each for each in found if each.suffix.lower() in (*TABLES, TAR) and each.is_file()]
    else:
        wanted = [each for each in here if each.suffix.lower() in TABLES]
        if len(wanted) > 1:
            raise DataError(
                f"data.path: {path} holds {len(wanted)} tables ({first_few([each.name for each in wanted])}); name "
                f"one: data.path='{path / wanted[0].name}'",
                reason="several-tables",
            )
        wanted = wanted or [each for each in here if each.suffix.lower() == TAR]
        wanted = wanted or sorted(each for each in path.rglob("metadata.*") if each.suffix.lower() in TABLES)
    if not wanted:
        what = f"nothing named '{table}'" if table else f"no table of photos and captions, and no {TAR}"
        has = first_few([each.name for each in here]) or "no files"
        raise DataError(f"data.path: {path} holds {what} (it has {has}); known: {', '.join(TABLES)}", reason="no-table")
    return Source(path, tuple(wanted))


@dataclass
class _Photo:
    """A photo that rows name: where its bytes lie, its split ("" = none is given) and its captions."""

    archive: str
    member: str
    split: str
    captions: list[tuple[str, int, str]]


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """The user's photos in the order of their tables, split by split."""
    options = parameters.datasets.folder
    source = find(Path(parameters.data.path), options.table)
    root = source.folder.resolve()
    photos: dict[str, _Photo] = {}
    rejected: list[tuple[Any, ...]] = []
    rows = 0
    for file in source.files:
        label = file.relative_to(source.folder).as_posix()
        tar = file.suffix.lower() == TAR
        usual = _split_of_name(label) if len(source.files) > 1 else ""
        for row in read_rows(file):
            rows += 1
            key, text = _clean(row.file), _clean(row.text)
            split = SPLIT_NAMES.get(row.split.strip().lower(), "" if not row.split.strip() else "?") or usual
            fault = row.fault
            if not fault and split == "?":
                fault, text = "no-split", f"the split '{row.split[:40]}' is none of {', '.join(SPLIT_NAMES)}"
            if not fault and tar:
                key = f"{label}/{key}"
            elif not fault:
                key, fault, why = _find_photo(source, file, key)
                text = why if fault else text
            fault = fault or ("" if normalise(text) else "empty")
            if not fault:
                place = (f"{root.name}/{label}", row.file) if tar else (root.name or ".", key)
                photo = photos.setdefault(key, _Photo(*place, split, []))
                fault = "other-split" if photo.split != split else ""
                fault = fault or ("extra-caption" if len(photo.captions) == _MOST_CAPTIONS else "")
                if not fault:
                    photo.captions.append((label, row.number, text))
            if fault:
                rejected.append((label, row.number, fault, text, printable(key)))
    if not photos:
        first = first_few([f"{row[0]}:{row[1]} {row[4]}: {row[3] or row[2]}"[:180] for row in rejected])
        raise DataError(
            f"data.path: {source.folder}: none of {rows} rows can be used{f': {first}' if first else ''}",
            reason="no-rows",
        )
    counts = Counter(row[2] for row in rejected)
    for reason in counts:
        first = first_few([f"{row[0]}:{row[1]} {row[4]}: {row[3]}"[:180] for row in rejected if row[2] == reason])
        log.warning("%d rows go to quarantine (%s): %s", counts[reason], reason, first)
    rejected += _without_split(photos)
    drawn = _draw(photos, options)
    log.info("splits: %s", drawn)
    found = _tables(name, photos)
    found.rejected = pd.DataFrame(rejected, columns=list(QUARANTINE_COLUMNS))
    found.notes = {"splits": drawn, "tables": len(source.files), "rows": rows}
    found.root = root.parent
    return found


def _find_photo(source: Source, table: Path, name: str) -> tuple[str, str, str]:
    """The photo's path in the folder, or a reason code and what to tell."""
    if "://" in name:
        return name, "photo-missing", "an address, no file of this folder; fetch it first"
    full = Path(os.path.normpath(table.parent.absolute() / name))  # not resolved: links among the photos are fine
    bases = {Path(os.path.normpath(source.folder.absolute())), source.folder.resolve()}
    inside = [full.relative_to(base).as_posix() for base in bases if full.is_relative_to(base)]
    if not inside:
        return name, "outside", f"lies outside of {source.folder.name or 'the folder'}, whose photos alone are read"
    if not full.is_file():
        return name, "photo-missing", f"no such photo{source.near(name)}"
    return inside[0], "", ""


def _without_split(photos: dict[str, _Photo]) -> list[tuple[Any, ...]]:
    """Quarantine rows of photos without a split where others have one; they are taken out."""
    none = [key for key, photo in photos.items() if not photo.split]
    if len(none) == len(photos):
        return []
    return [(*place, "no-split", text, printable(key)) for key in none for *place, text in photos.pop(key).captions]


def _draw(photos: dict[str, _Photo], options: FolderParameters) -> str:
    """Give every photo a split: that of the tables, and dev or test photos drawn where they name none; says which.

    Those whose names have the lowest SHA-256 are drawn: the choice depends on no order, library or machine.

    Raises:
        DataError: there are too few photos.
    """
    given = {photo.split for photo in photos.values()} - {""}
    pool = sorted(
        (key for key, photo in photos.items() if photo.split in ("", "train")),
        key=lambda key: hashlib.sha256(_nfc(key).encode()).digest(),
    )
    sizes = {}
    for split in (split for split in ("test", "dev") if split not in given):
        wanted = getattr(options, split)
        sizes[split] = int(wanted) if wanted >= 1 else max(FEWEST_PHOTOS, round(wanted * len(photos)))
    for key in pool:
        photos[key].split = "train"
    place = 0
    for split, size in sizes.items():
        for key in pool[place : place + size]:
            photos[key].split = split
        place += size
    counts = Counter(photo.split for photo in photos.values())
    if few := [split for split in SPLITS if counts[split] < FEWEST_PHOTOS]:
        found = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
        raise DataError(
            f"data.path: {len(photos)} photos can be used ({found}), and each split needs {FEWEST_PHOTOS}: too few for "
            f"{', '.join(few)}; give more photos, or change datasets.folder.dev and test",
            reason="few-photos",
        )
    by_hash = ", ".join(f"{size} {split}" for split, size in sizes.items())
    named = f"{', '.join(split for split in SPLITS if split in given)} as the tables say" if given else ""
    return "; ".join(
        part for part in (named, f"{by_hash} drawn by SHA-256 of the file names" if by_hash else "") if part
    )


def _tables(name: str, photos: dict[str, _Photo]) -> RawData:
    """The photos and captions, split by split, in the order of the tables."""
    ordered = [(key, photos[key]) for split in SPLITS for key in photos if photos[key].split == split]
    ids = dict(zip((key for key, _ in ordered), _ids([key for key, _ in ordered]), strict=True))
    images = [(ids[key], photo.split, name, photo.archive, photo.member) for key, photo in ordered]
    captions = [
        (ids[key], photo.split, position, text, -1, -1, *place)
        for key, photo in ordered
        for position, (*place, text) in enumerate(photo.captions)
    ]
    return RawData(
        pd.DataFrame([(number, *row) for number, row in enumerate(captions)], columns=list(CAPTION_COLUMNS)),
        pd.DataFrame(images, columns=list(IMAGE_COLUMNS)),
    )


def _ids(keys: list[str]) -> list[str]:
    """An id for each photo that can be a file's name: its path without suffix, with a hash where that is no one's own.

    >>> _ids(["dog.jpg", "a/cat.jpg"])
    ['dog', 'a_cat']
    >>> _ids(["a/b.jpg", "a_b.jpg"])
    ['a_b-4a516362', 'a_b-dc2016a3']
    """
    plain = [_nfc(printable(key.rpartition(".")[0] or key)).replace("/", "_").replace("\\", "_") for key in keys]
    twice = {each for each, count in Counter(plain).items() if count > 1}
    return [
        f"{each[: _LONGEST_ID // 4]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        if each in twice or len(each.encode()) > _LONGEST_ID or each.strip(". ") == ""
        else each
        for each, key in zip(plain, keys, strict=True)
    ]


def _split_of_name(name: str) -> str:
    """The split that the words of a table's path name, as train/metadata.csv or shards-val-0003.tar.

    >>> [_split_of_name(name) for name in ("train/metadata.csv", "cc-val-0003.tar", "latest.csv")]
    ['train', 'dev', '']
    """
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def _alike(path: str) -> str:
    return _nfc(PurePosixPath(path.replace("\\", "/")).stem).casefold()


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _clean(text: str) -> str:
    """The text without what no file of ours can hold: lone surrogates and null characters."""
    return text.strip("\ufeff").replace("\0", "").encode("utf-8", "replace").decode()
