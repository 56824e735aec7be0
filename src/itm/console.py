"""Tables and lines on the terminal, or in a pipe, where no line is cut or wrapped."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from itm.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH = 100_000


def console() -> Console:
    """Standard output. What is printed is data, never rich's markup; a pipe gets lines as long as they need to be."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDTH)


def table(
    columns: Sequence[str],
    rows: Iterable[Iterable[str]],
    *,
    right: Container[int] = (),
    title: str | None = None,
    caption: str | None = None,
) -> Table:
    """A table whose cells fold where the terminal is narrow, so that no name is cut to another's.

    Args:
        columns: their heads; all empty = none is shown.
        right: places of columns of figures.
    """
    from rich.table import Table

    found = Table(box=None, pad_edge=False, show_header=any(columns), title=title, caption=caption)
    for place, column in enumerate(columns):
        found.add_column(column, justify="right" if place in right else "left", overflow="fold")
    for row in rows:
        found.add_row(*("\n".join(map(printable, cell.split("\n"))) for cell in row))
    return found


def write_anything() -> None:
    """Let standard output and errors hold characters that their encoding lacks, as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
