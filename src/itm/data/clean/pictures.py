"""Every image decoded once, whole: good ones go into the shards, bad ones to quarantine with a reason."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.archives import Archive, Folder
from itm.data.clean.fingerprints import SIDE, fingerprints, halve, thumbnail
from itm.data.decode import Header, examine, rewrite, shrink
from itm.data.files import atomic_path
from itm.data.images import ShardWriter
from itm.data.layout import SPLITS, shard
from itm.errors import DataError, first_few

_THREADS = 2
_BLOCK = 512
_TASK, _AHEAD = 16, 4
"""Images a task, and tasks that are worked on before their turn; both bound memory."""


@dataclass
class StoredImages:
    """images.parquet, what was rejected, and what the quality report and the leak report need.

    Attributes:
        table: columns of images.parquet, in the order given, without the rejected rows.
        rejected: quarantine rows and their split; reason one of photo-missing and those of `itm.data.decode`.
        rewritten: how many images were stored anew, by reason (turned, mode, format, warned, shrunk).
        fingerprints: (images,) uint64, rows as table.
        thumbnails: (images, SIDE / 2, SIDE / 2, 3) uint8.
    """

    table: pd.DataFrame
    rejected: pd.DataFrame
    rewritten: dict[str, int] = field(default_factory=dict)
    fingerprints: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    thumbnails: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 1, 1, 3), np.uint8))


@dataclass(frozen=True)
class _Image:
    content: bytes
    header: Header
    sha256: str
    thumbnail: NDArray[np.uint8]
    rewritten: str


def store_images(
    images: pd.DataFrame, raw: Path, out: Path, train_side: int = 0, advance: Callable[[], object] = lambda: None
) -> StoredImages:
    """Verify the images of IMAGE_COLUMNS, in order, and pack them into the shards of their splits in `out`.

    An image is stored as its original bytes if every decoder reads it alike (JPEG or PNG, RGB or grey, upright, whole);
    else it is turned upright, put on white, converted to RGB and stored anew. Greyscale stays: the decoder repeats
    it over three channels.

    Args:
        train_side: training photos whose shorter side is longer are shrunk to it (JPEG, quality 90); 0 = never.
            Evaluation photos are never touched.
        advance: called after each image.

    Raises:
        DataError: an archive is missing or unsafe; an image id cannot be a file name or comes twice.
    """
    _check_ids(images["image_id"])
    rows: list[tuple[Any, ...]] = []
    rejected: list[tuple[str, int, str, str, str, str]] = []
    rewritten: dict[str, int] = {}
    looks = _Looks()
    with ExitStack() as stack:
        archives = {name: _open(stack, raw / name) for name in images["archive"].unique()}
        writers = {
            name: stack.enter_context(ShardWriter(stack.enter_context(atomic_path(out / name))))
            for name in dict.fromkeys(shard(split) for split in SPLITS)
        }
        columns = ["image_id", "split", "source", "archive", "member"]
        records: list[Any] = images[columns].to_numpy(dtype=object).tolist()
        order = {name: {member: row for row, member in enumerate(archives[name].names(), 1)} for name in archives}
        for record, result in _ahead(lambda record: _inspect(archives, record, train_side), records):
            image_id, split, source, archive, member = record
            advance()
            if isinstance(result, DataError):
                rejected.append((archive, order[archive].get(member, 0), result.reason, str(result), image_id, split))
                continue
            name = shard(split)
            extension = "jpg" if result.header.format == "JPEG" else "png"
            offset = writers[name].add(f"{image_id}.{extension}", result.content)
            head = result.header
            size = len(result.content)
            rows.append(
                (image_id, split, source, name, offset, size, head.width, head.height, head.mode, result.sha256)
            )
            looks.add(result.thumbnail)
            if result.rewritten:
                rewritten[result.rewritten] = rewritten.get(result.rewritten, 0) + 1
    table = pd.DataFrame(
        rows,
        columns=["image_id", "split", "source", "shard", "offset", "size", "width", "height", "mode", "sha256"],
    ).astype({"offset": np.int64, "size": np.int64, "width": np.int32, "height": np.int32})
    quarantine = pd.DataFrame(rejected, columns=["source", "row", "reason", "text", "image_id", "split"])
    return StoredImages(table, quarantine, dict(sorted(rewritten.items())), *looks.finish())


class _Looks:
    """Fingerprints and small thumbnails of a stream of images, computed block by block."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.uint8]] = []
        self._prints: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        self._small: list[NDArray[np.uint8]] = [np.empty((0, SIDE // 2, SIDE // 2, 3), np.uint8)]

    def add(self, thumbnail: NDArray[np.uint8]) -> None:
        self._waiting.append(thumbnail)
        if len(self._waiting) == _BLOCK:
            self._flush()

    def finish(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        self._flush()
        return np.concatenate(self._prints), np.concatenate(self._small)

    def _flush(self) -> None:
        if self._waiting:
            block = np.stack(self._waiting)
            self._waiting.clear()
            self._prints.append(fingerprints(block))
            self._small.append(halve(block))


def _open(stack: ExitStack, path: Path) -> Archive | Folder:
    return stack.enter_context(Folder(path)) if path.is_dir() else stack.enter_context(Archive(path))


def _inspect(archives: dict[str, Archive | Folder], record: Sequence[str], train_side: int) -> _Image | DataError:
    image_id, split, _, archive, member = record
    if not member:
        near = archives[archive].near(image_id)
        return DataError(f"the archive has no such photo{near}", reason="photo-missing")
    try:
        content = archives[archive].photo(member)
        header, pixels = examine(content)
        why = ""
        if not header.plain:
            why = "mode" if header.format in ("JPEG", "PNG") else "format"
            why = "turned" if header.orientation != 1 else "warned" if header.warned else why
            content, header = rewrite(content)
        if split == "train" and 0 < train_side < min(header.width, header.height):
            why = why or "shrunk"
            content, header = shrink(content, train_side)
    except DataError as error:
        return error
    return _Image(content, header, hashlib.sha256(content).hexdigest(), thumbnail(pixels), why)


def _ahead(
    work: Callable[[Sequence[str]], _Image | DataError], records: Sequence[Sequence[str]]
) -> Iterator[tuple[Sequence[str], _Image | DataError]]:
    """Each record with its result, in order, while the next ones are already worked on."""
    parts = (records[start : start + _TASK] for start in range(0, len(records), _TASK))
    with ThreadPoolExecutor(_THREADS) as pool:

        def start(part: Sequence[Sequence[str]]) -> tuple[Sequence[Sequence[str]], Future[list[_Image | DataError]]]:
            return part, pool.submit(lambda: [work(record) for record in part])

        running = deque(start(part) for part in islice(parts, _AHEAD))
        while running:
            part, future = running.popleft()
            yield from zip(part, future.result(), strict=True)
            running.extend(start(part) for part in islice(parts, 1))


def _check_ids(ids: pd.Series) -> None:
    bad = [name for name in ids if not name or name in (".", "..") or any(c in name for c in "/\\\0") or len(name) > 90]
    if bad:
        raise DataError(
            f"{len(bad)} image ids cannot be file names: {first_few(map(repr, bad), len(bad))}", reason="image-id"
        )
    repeated = ids[ids.duplicated()].unique().tolist()
    if repeated:
        raise DataError(f"{len(repeated)} image ids come twice: {first_few(repeated)}", reason="duplicate")
