"""Progress bars, on a terminal only; elsewhere the log tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

Report = Callable[[str, int, int | None], None]


def byte_bars() -> AbstractContextManager[Report]:
    """A function `report(file, done, total)` that draws one bar a file, safe to call from threads."""
    return _bars(in_bytes=True)


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function `report(done, total)` that moves one bar."""
    with _bars(in_bytes=False) as report:
        report(description, 0, None)
        yield partial(report, description)


@contextmanager
def _bars(in_bytes: bool) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    unit = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *unit, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, object] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)  # type: ignore[arg-type]

        yield report
