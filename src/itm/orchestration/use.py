"""DVC's record of paths in use (.dvc/tmp/rwlock), replaced as a whole wherever this process changes it.

DVC empties the file and fills it again. A job that a cluster kills between the two would leave an empty record, at
which every other job stops, and so does the next attempt of the same job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class WholeFiles:
    """A file system of DVC's whose files, opened to be written, take the place of the old ones when they are closed."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    @contextmanager
    def open(self, path: str, mode: str = "r", **options: Any) -> Iterator[Any]:
        """A file as DVC's own `open` gives it; after an error the old content stays."""
        if mode == "w":
            temporary = Path(f"{path}.new")  # one name: DVC holds its guard while it writes
            try:
                with temporary.open(mode, **options) as file:
                    yield file
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        else:
            with self._fs.open(path, mode, **options) as file:
                yield file


def replace_as_a_whole() -> None:
    """Make DVC, in this process, replace its record instead of writing it in place."""
    from dvc import rwlock

    edit = rwlock._edit_rwlock
    if getattr(edit, "whole", False):
        return

    def edit_whole(folder: str, fs: Any, hardlink: bool) -> Any:
        return edit(folder, WholeFiles(fs), hardlink)

    edit_whole.whole = True  # type: ignore[attr-defined]
    rwlock._edit_rwlock = edit_whole
