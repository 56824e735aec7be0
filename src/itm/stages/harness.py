"""The common part of all stages: command line, a log file, and errors without a traceback."""

from __future__ import annotations

import functools
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import typer

from itm.config import load
from itm.data.files import together
from itm.errors import ConfigError
from itm.faults import message_of
from itm.pipeline.presence import present
from itm.pipeline.processes import end_with_runner
from itm.pipeline.provenance import write_record


def run(stage: Callable[..., None], log_name: str | None = None) -> None:
    """Run a stage function from the command line; its signature gives the options.

    A `ProjectError` is printed as one message and ends the process with status 1. What is logged goes
    to standard error and to `logs/stages/<name>.log` (folder: environment variable ITM_LOGS). What the results were
    made of is written where dvc.yaml wants it (see `itm.pipeline.provenance`).
    """
    name = log_name or Path(sys.argv[0]).stem
    with guarded(name):
        folder = Path(os.environ.get("ITM_LOGS", "logs/stages"))
        folder.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(message)s",
            handlers=[logging.FileHandler(folder / f"{name}.log", encoding="utf-8"), logging.StreamHandler()],
        )
        logging.getLogger(name).info("machine: %s", machine())
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(_recorded(stage))
        with present(".", f"the stage {name}"):
            app(standalone_mode=True)


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """End the process with status 1 and one message on an error that no change of the code would mend.

    The process also ends when the runner that started it is gone: see `itm.pipeline.processes`.
    """
    logging.raiseExceptions = False  # a log that cannot be written (full disk) is no reason for a traceback
    end_with_runner(logging.getLogger(name).warning)
    try:
        yield
    except Exception as error:
        if (message := message_of(error)) is None:
            raise
        logging.getLogger(name).debug("stopped", exc_info=True)
        print(f"itm {name}: {message}", file=sys.stderr)
        sys.exit(1)


def _recorded(stage: Callable[..., None]) -> Callable[..., None]:
    """The stage function with its paths filled in, whose `outputs` include its provenance."""

    @functools.wraps(stage)
    def recorded(**options: Any) -> None:
        arguments = sys.argv[1:]
        _RECORD.set(lambda: write_record(stage.__name__, options, arguments))
        stage(**filled(options))

    return recorded


_RECORD: ContextVar[Callable[[], object]] = ContextVar("record", default=lambda: None)
"""Writes the provenance of the stage that runs."""


@contextmanager
def outputs() -> Iterator[None]:
    """The block in which a stage writes its outputs: they and their provenance appear together, or none does."""
    with together():
        yield
        _RECORD.get()()


def filled(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a stage with others of them in place of `{method}`, `{seed}` and the like in paths.

    `{data}` is the name of the present data set. dvc.yaml leaves this to the stage, so that no parameter becomes part
    of a shell's command.

    >>> filled({"method": "ditm", "seed": 0, "out": Path("models/{method}/seed{seed}")})["out"].as_posix()
    'models/ditm/seed0'

    Raises:
        ConfigError: a path names what is no option.
    """
    known = {name: value for name, value in options.items() if not isinstance(value, Path)}
    found = dict(options)
    for name, value in options.items():
        if isinstance(value, Path) and "{" in str(value):
            if "{data}" in str(value) and "data" not in known:
                known["data"] = load().data.name
            try:
                found[name] = Path(str(value).format_map(known))
            except (KeyError, ValueError, IndexError, AttributeError):
                raise ConfigError(
                    f"--{name} {value}: in braces stands one of {', '.join(sorted({*known, 'data'}))}", reason="braces"
                ) from None
    return found


def machine() -> str:
    """What the stage runs on, for its log: results must not depend on it, times and memory do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = (models or [platform.processor() or "unknown processor"])[0]
    return f"{processor}, {platform.machine()}, {usable} cores, {platform.system()} {platform.release()}"


class Progress:
    """A progress bar with the time left on a terminal; silent elsewhere, where the log tells."""

    def __init__(self, description: str, shown: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
            transient=True,
        )
        self._description = description
        self._task = self._bar.add_task(description, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show how many of `total` steps are done."""
        self._bar.update(self._task, completed=done, total=total, description=f"{self._description} {note}".rstrip())
