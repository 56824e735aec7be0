"""Photos by file name, from a folder or an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from itm.data.archives import Archive
from itm.data.decode import picture, read_photo
from itm.errors import DataError, first_few

if TYPE_CHECKING:
    from PIL.Image import Image

ARCHIVES = (".zip", ".tar", ".tar.gz")


class Photos:
    """The photos of some names, found anywhere below a folder or in a .zip or .tar; opened as they are asked for.

    Raises:
        DataError: the place is missing, or lacks photos; the message counts them.
    """

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        wanted = set(names)
        self._read: Callable[[str], bytes]
        if place.is_file() and place.name.endswith(ARCHIVES):
            archive = Archive(place)
            members = {PurePosixPath(name).name: name for name in archive.names()}
            found, self._read = wanted & members.keys(), lambda name: archive.photo(members[name])
        elif place.is_dir():
            paths = {name: Path(top, name) for top, _, files in os.walk(place) for name in wanted.intersection(files)}
            found, self._read = set(paths), lambda name: read_photo(paths[name])
        else:
            raise DataError(f"{place}: no such folder, and no archive ({', '.join(ARCHIVES)})", reason="missing-file")
        absent = [name for name in names if name not in found]
        if absent:
            raise DataError(
                f"{place}: {len(absent)} of the benchmark's {len(names)} photos are missing ({first_few(absent)});"
                " `itm evaluate --items` lists them all",
                reason="missing-photo",
            )

    def open(self, name: str) -> Image:
        """The photo as Pillow's image, upright, in RGB.

        Raises:
            DataError: it cannot be decoded; the message names it.
        """
        try:
            return picture(self._read(name))
        except DataError as error:
            raise DataError(f"{name}: {error}", reason=error.reason) from None
