"""Shards of images: written image by image, read at random, as encoded bytes or as pixels."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.decode import Pixels, decode, fit, picture, read_header
from itm.errors import DataError, first_few

if TYPE_CHECKING:
    from PIL.Image import Image

Rows = Sequence[int] | NDArray[np.integer]


class ImageStore:
    """Images by row of images.parquet, or by id.

    A file is opened when it is first read and stays open; reading is by position, so that one store serves many
    threads, and a store that is copied to a worker process opens its own files.

    Args:
        folder: where the shards lie.
        images: the table of `itm.data.tables.read_images`.

    Raises:
        DataError: the table lacks a column that the store needs.
    """

    def __init__(self, folder: str | Path, images: pd.DataFrame) -> None:
        missing = [name for name in ("image_id", "shard", "offset", "size") if name not in images]
        if missing:
            raise DataError(
                f"images table has no column {first_few(missing)}; read it with read_images", reason="columns"
            )
        self.folder = Path(folder)
        self._ids: NDArray[np.object_] = images["image_id"].to_numpy(dtype=object)
        codes, shards = pd.factorize(images["shard"])
        self._shards = [str(shard) for shard in shards]
        self._shard_of: NDArray[np.intp] = codes
        self._offsets: NDArray[np.int64] = images["offset"].to_numpy(np.int64)
        self._sizes: NDArray[np.int64] = images["size"].to_numpy(np.int64)
        self._sides: NDArray[np.int64] | None = None
        if "width" in images and "height" in images:
            self._sides = images[["width", "height"]].to_numpy(np.int64)
        self._rows: dict[str, int] | None = None
        self._files: dict[int, int] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._ids)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the shards; they open again when needed."""
        files, self._files = getattr(self, "_files", {}), {}
        if getattr(self, "_process", None) == os.getpid():
            for descriptor in files.values():
                os.close(descriptor)

    def row(self, image: int | str) -> int:
        """The row of an image id (a row is given back).

        Raises:
            DataError: no such image.
        """
        if isinstance(image, str):
            if self._rows is None:
                self._rows = {name: row for row, name in enumerate(self._ids)}
            if image not in self._rows:
                raise DataError(f"{self.folder}: no image '{image}' among {len(self)}", reason="unknown-image")
            return self._rows[image]
        row = int(image)
        if not 0 <= row < len(self):
            raise DataError(f"{self.folder}: no image row {row}; rows are 0 to {len(self) - 1}", reason="unknown-image")
        return row

    def read(self, image: int | str) -> bytes:
        """The encoded bytes of an image.

        Raises:
            DataError: no such image, or its shard is missing or cut.
        """
        row = self.row(image)
        shard, size = int(self._shard_of[row]), int(self._sizes[row])
        file = self._open(shard)
        try:
            content = os.pread(file, size, int(self._offsets[row]))
        except (OSError, ValueError, OverflowError, MemoryError):  # a place or a size that no file has
            content = b""
        if len(content) != size:
            raise DataError(
                f"{self.folder / self._shards[shard]}: ends inside image {self._ids[row]}; run `dvc repro clean`",
                reason="damaged-shard",
            )
        return content

    def dimensions(self, image: int | str) -> tuple[int, int]:
        """Width and height of an image, from the table where it has them, else from the file."""
        if self._sides is None:
            header = read_header(self.read(image))
            return header.width, header.height
        width, height = self._sides[self.row(image)]
        return int(width), int(height)

    def picture(self, image: int | str) -> Image:
        """The image as Pillow's RGB image, for reports."""
        return picture(self.read(image))

    def pixels(self, image: int | str, at_least: int = 0) -> Pixels:
        """The pixels (height, width, 3) uint8; `at_least` as in `itm.data.decode.decode`.

        Raises:
            DataError: as `read`; or the image is damaged, with its id.
        """
        try:
            return decode(self.read(image), at_least, plain=True)
        except DataError as error:
            raise DataError(f"image {self._ids[self.row(image)]}: {error}", reason=error.reason) from None

    def array(self, image: int | str, size: int) -> Pixels:
        """The centre square of an image as (size, size, 3) uint8."""
        return fit(self.pixels(image, size), size)

    def arrays(self, rows: Rows | Iterable[int], size: int) -> Pixels:
        """The centre squares of several rows, in that order, as (n, size, size, 3) uint8."""
        rows = np.asarray(list(rows) if not isinstance(rows, np.ndarray) else rows, dtype=np.int64)
        stacked = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        for place, row in enumerate(rows.tolist()):
            stacked[place] = self.array(row, size)
        return stacked

    def _open(self, shard: int) -> int:
        if self._process != os.getpid():  # after a fork, the parent's descriptors are not ours to close
            self._files, self._process = {}, os.getpid()
        if shard not in self._files:
            path = self.folder / self._shards[shard]
            try:
                self._files[shard] = os.open(path, os.O_RDONLY)
            except (FileNotFoundError, ValueError):  # ValueError: a name that no file can have
                raise DataError(
                    f"{path}: no such shard; run `dvc repro clean` or `dvc pull`", reason="missing-file"
                ) from None
        return self._files[shard]


_BLOCK = tarfile.BLOCKSIZE
_RECORD = tarfile.RECORDSIZE


class ShardWriter:
    """An uncompressed tar that grows image by image.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "images.tar"
    >>> with ShardWriter(path) as shard:
    ...     shard.add("dog.jpg", b"pixels"), shard.add("cat.jpg", b"more")
    (512, 1536)
    >>> tarfile.open(path).getnames()
    ['dog.jpg', 'cat.jpg']
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def add(self, name: str, content: bytes) -> int:
        """Append a file; returns the offset of its first byte."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = len(content), 0o644, 0
        self._file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        offset = self._file.tell()
        self._file.write(content)
        self._file.write(bytes(-len(content) % _BLOCK))
        return offset

    def close(self) -> None:
        """End the tar as the format asks: two empty blocks, filled up to a record."""
        self._file.write(bytes(2 * _BLOCK))
        self._file.write(bytes(-self._file.tell() % _RECORD))
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
