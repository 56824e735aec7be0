"""Sources of images to search: the clean tables of the pipeline, or any folder of photos."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from itm.data.decode import SUFFIXES, Pixels, read_photo, square
from itm.data.images import ImageStore
from itm.data.layout import IMAGES
from itm.data.tables import read_images
from itm.errors import ConfigError, DataError, first_few, nearest, printable

if TYPE_CHECKING:
    from itm.model import Model

CLEAN = Path("data/clean")
PARAMETERS = Path("params.yaml")
_BATCH = 64


class Gallery(Protocol):
    """Images by row, each with a name; `left_out` counts by reason what lies beside them and is none."""

    source: str
    names: Sequence[str]
    left_out: Mapping[str, int]

    def read(self, row: int) -> bytes:
        """The encoded bytes of an image."""


@dataclass
class PhotoFolder:
    """All photos below a folder and folders that are linked there, by path; names are relative to it, sorted."""

    folder: Path
    names: Sequence[str] = field(init=False)
    source: str = field(init=False)
    left_out: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found, self.left_out = _photos_below(self.folder)
        if not found:
            here = f"; it holds {counts_text(self.left_out)}" if self.left_out else ""
            raise DataError(
                f"{self.folder}: holds no photo ({', '.join(sorted(SUFFIXES))}), and no {IMAGES}{here}",
                reason="no-photos",
            )
        self.names, self.source = sorted(found), str(self.folder)

    def read(self, row: int) -> bytes:
        """The bytes of a photo's file."""
        try:
            return read_photo(self.folder / self.names[row])
        except DataError as error:
            raise DataError(f"{self.names[row]}: {error}", reason=error.reason) from None


def _photos_below(folder: Path) -> tuple[list[str], Counter[str]]:
    """The photos of a folder and all below it, and how often what else lies there is no photo, by reason.

    Linked folders come last and each folder once: a photo has the name without links, and circles end.
    """
    photos: list[str] = []
    left: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    folders, linked = [folder], list[Path]()
    while folders or linked:
        here = folders.pop() if folders else linked.pop(0)
        try:
            status = here.stat()
            paths = [] if (status.st_dev, status.st_ino) in seen else sorted(here.iterdir())
        except OSError:
            left["unreadable folder"] += 1
            continue
        seen.add((status.st_dev, status.st_ino))
        for path in paths:
            reason = _no_photo(path)
            if reason == "folder":
                (linked if path.is_symlink() else folders).append(path)
            elif reason:
                left[reason] += 1
            else:
                photos.append(path.relative_to(folder).as_posix())
    return photos, left


def _no_photo(path: Path) -> str:
    """Why a path is no photo; "" where it is one by its name."""
    try:
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "" if path.suffix.lower() in SUFFIXES else path.suffix.lower() or "without suffix"
    except OSError:  # the folder may be listed, and what lies in it not be looked at
        return "unreadable file"
    return "broken link" if path.is_symlink() else "device"


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts by reason in words, the most frequent first.

    >>> counts_text({"unreadable folder": 1, ".heic": 2})
    '2 .heic (save them as JPEG), 1 unreadable folder'
    """
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    plural = ("folder", "file", "link", "device")
    words = [f"{count:,} {reason[:40]}{'s' * (count > 1 and reason.endswith(plural))}" for reason, count in ordered]
    told = [f"{word} (save them as JPEG)" if word.endswith((" .heic", " .heif")) else word for word in words]
    return printable(first_few(told, limit=9))


class TableGallery:
    """The images of some splits of the clean tables."""

    def __init__(self, clean: Path, splits: Sequence[str] | None = None) -> None:
        table = read_images(clean)
        if splits is not None:
            table = table[table["split"].isin(splits)].reset_index(drop=True)
        if not len(table):
            raise DataError(f"{clean / IMAGES}: no image of {first_few(splits or [])}", reason="no-photos")
        self.names: Sequence[str] = table["image_id"].astype(str).tolist()
        self.source = str(clean)
        self.left_out: Mapping[str, int] = {}
        self._store = ImageStore(clean, table)

    def read(self, row: int) -> bytes:
        """The bytes of an image as they lie in its shard."""
        return self._store.read(row)


def open_gallery(images: str, splits: Sequence[str] | None = None) -> Gallery:
    """The gallery that `--images` names: a folder of photos, a folder of clean tables, or the present data set's name.

    `splits` chooses among the images of tables; None takes all.

    Raises:
        ConfigError: neither a folder nor the data set of params.yaml (reason "unknown-images").
        DataError: there is no image, or a file is missing or damaged.
    """
    folder = Path(images)
    if folder.is_dir():
        return TableGallery(folder, splits) if (folder / IMAGES).is_file() else PhotoFolder(folder)
    known = data_set()
    if images == known:
        return TableGallery(CLEAN, splits)
    hint = f"the data set of {PARAMETERS} is '{known}'; {nearest(images, [known])}" if known else "no data set is here"
    raise ConfigError(f"--images {images}: no such folder, and {hint}", reason="unknown-images")


def data_set() -> str | None:
    """The name of the data set in params.yaml; None where there is no such file."""
    if not PARAMETERS.is_file():
        return None
    from itm.config import load

    return load(PARAMETERS).data.name


@dataclass
class Squares:
    """Batches of decoded images, read ahead by threads; `broken` grows by (name, fault) while they are read."""

    gallery: Gallery
    size: int
    threads: int = 2
    broken: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[list[int], list[Pixels]]]:
        """Rows and pixels (size, size, 3) of those that could be decoded."""
        with ThreadPoolExecutor(max(1, self.threads)) as pool:
            for start in range(0, len(self.gallery.names), _BATCH):
                rows = range(start, min(start + _BATCH, len(self.gallery.names)))
                found = list(pool.map(self._decoded, rows))
                good = [row for row, pixels in zip(rows, found, strict=True) if not isinstance(pixels, str)]
                self.broken += [
                    (self.gallery.names[row], pixels)
                    for row, pixels in zip(rows, found, strict=True)
                    if isinstance(pixels, str)
                ]
                if good:
                    yield good, [pixels for pixels in found if not isinstance(pixels, str)]

    def _decoded(self, row: int) -> Pixels | str:
        try:
            return square(self.gallery.read(row), self.size)
        except DataError as error:
            return str(error)


def embed_gallery(
    gallery: Gallery,
    model: Model,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32], list[tuple[str, str]]]:
    """Rows that could be read, their vectors (rows, D), and (name, fault) of the others.

    Raises:
        DataError: not one image can be read (reason "no-photos").
    """
    squares = Squares(gallery, model.towers.image_size, threads)
    rows: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for batch, pixels in squares:
        rows += batch
        parts.append(model.encode_images(pixels).vectors)
        if progress:
            progress(len(rows) + len(squares.broken), len(gallery.names))
    if not parts:
        raise DataError(
            f"{gallery.source}: none of {len(gallery.names)} images can be read: "
            + first_few([f"{name}: {fault}" for name, fault in squares.broken]),
            reason="no-photos",
        )
    return np.array(rows, np.int64), np.concatenate(parts), squares.broken


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
