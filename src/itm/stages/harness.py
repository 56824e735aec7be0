"""What every stage shares: command line, a log file, and errors without a traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from itm.errors import ProjectError


def run(stage: Callable[..., None], log_name: str | None = None) -> None:
    """Run a stage function from the command line; its signature gives the options.

    A `ProjectError` is printed as one message and ends the process with status 1. What is logged goes
    to standard error and to `logs/stages/<name>.log` (folder: environment variable ITM_LOGS).
    """
    name = log_name or Path(sys.argv[0]).stem
    folder = Path(os.environ.get("ITM_LOGS", "logs/stages"))
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.FileHandler(folder / f"{name}.log", encoding="utf-8"), logging.StreamHandler()],
    )
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(stage)
    try:
        app(standalone_mode=True)
    except ProjectError as error:
        logging.getLogger(name).debug("stopped", exc_info=True)
        print(f"itm {name}: {error}", file=sys.stderr)
        sys.exit(1)
