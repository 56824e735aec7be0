"""Writing image shards: plain tars in WebDataset's form, with the place of every image known.

The same images in the same order give the same bytes. A reader needs no tar library: offset and size suffice.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from types import TracebackType
from typing import Self

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
