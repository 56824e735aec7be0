"""Two files of DVC's, written in another way than DVC does: dvc.lock, and its record of paths in use.

dvc.lock: one stage's entry is replaced in the text. DVC itself parses the whole file, keeping comments, and writes it
anew for each stage that ends: seconds for a hundred stages, and while it does no other job can record. The text that
results is the same.

The record of paths in use (.dvc/tmp/rwlock) is replaced as a whole wherever this process changes it. DVC empties the
file and fills it again. A job that a cluster kills between the two would leave an empty record, at which every other
job stops, and so does the next attempt of the same job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from itm.errors import DataError
from itm.parse import parse_keys

_HEAD = "schema: '2.0'\nstages:\n"
_NAME = re.compile(r"  (\S.*):")


def with_entry(text: str, entry: str) -> str | None:
    """The text of dvc.lock with the entry of one stage in it: in place of the one it has, or at the end.

    Args:
        text: of dvc.lock.
        entry: a dvc.lock, as DVC writes it, of that stage alone.

    Returns:
        None where `text` is not as DVC writes it (edited by hand, datasets, a merge that was not ended).

    >>> one = _HEAD + "  a:\\n    cmd: run\\n"
    >>> print(with_entry(one, _HEAD + "  b:\\n    cmd: run\\n"))
    schema: '2.0'
    stages:
      a:
        cmd: run
      b:
        cmd: run
    <BLANKLINE>
    >>> with_entry(one, _HEAD + "  a:\\n    cmd: other\\n") == one.replace("run", "other")
    True
    >>> with_entry("<<<<<<< HEAD\\n" + one, one) is None
    True
    """
    starts, new = _entries(text), _entries(entry)
    if starts is None or new is None or len(new) != 1:
        return None
    name, begin = new[0]
    ends = [*(start for _, start in starts), len(text)][1:]
    places = [(start, end) for (other, start), end in zip(starts, ends, strict=True) if other == name]
    if not places:
        return text + entry[begin:]
    if len(places) > 1:
        return None
    start, end = places[0]
    return text[:start] + entry[begin:] + text[end:]


def _entries(text: str) -> list[tuple[str, int]] | None:
    """Names of the stages and where their entries begin; None where the text has another form."""
    if not text.startswith(_HEAD) or not text.endswith("\n"):
        return None
    found, place = [], len(_HEAD)
    for line in text[place:-1].split("\n") if len(text) > place else ():
        if line.startswith("  ") and line[2:3].strip():
            match = _NAME.fullmatch(line)
            name = _plain(match[1]) if match else None
            if name is None:
                return None
            found.append((name, place))
        elif not found or not (line.startswith("    ") or not line):
            return None
        place += len(line) + 1
    return found


def _plain(key: str) -> str | None:
    """The name that a key of YAML stands for; None for what is not one name."""
    if re.fullmatch(r"[A-Za-z_][\w@.-]*", key):
        return key
    try:
        (found,) = parse_keys(f"{key}:".encode(), "dvc.lock")
    except (DataError, ValueError):
        return None
    return found


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
