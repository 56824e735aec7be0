"""--smoke, which every benchmark has: its whole path at the smallest size, in seconds.

It stands for options that the script names. The figures mean nothing; pages and files go to a folder that is deleted
at the end. tests/benchmarks runs every script so. What only looks at a finished run gets one of a few scenes
(small_run.py), made anew or, so that several scripts share it, once in the folder that ITM_SMALL_RUN names.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shlex
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NoReturn

ABSENT = 77
"""The exit status where something is missing on this machine; test runners take it for "skipped"."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows --smoke and shows the description as it is."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument(
        "--smoke", action="store_true", help="does everything run? The smallest sizes, seconds; nothing is kept"
    )
    return found


def read(parser: argparse.ArgumentParser, smallest: str) -> argparse.Namespace:
    """What the command line says. With --smoke the words of `smallest` come before it.

    In these {scratch} is a folder that is deleted at the end, {params} a params.yaml of a few scenes, and {run} a
    folder in which the pipeline has run with it.
    """
    words = sys.argv[1:]
    if "--smoke" in words:
        from small_run import finished, parameters_file

        for name, place in (("{scratch}", scratch), ("{params}", parameters_file), ("{run}", finished)):
            if name in smallest:
                smallest = smallest.replace(name, shlex.quote(str(place())))
        words = ["--smoke", *shlex.split(smallest), *(word for word in words if word != "--smoke")]
    return parser.parse_args(words)


@cache
def scratch() -> Path:
    """A folder that is deleted when the process ends."""
    folder = tempfile.mkdtemp(prefix="itm-smoke-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def absent(reason: str) -> NoReturn:
    """End with one line that says what this machine lacks."""
    print(reason, file=sys.stderr)
    sys.exit(ABSENT)


def mirror() -> Path:
    """The folder of ITM_MIRROR, for a --smoke that needs its files."""
    if not (place := os.environ.get("ITM_MIRROR")):
        absent("ITM_MIRROR is not set: this needs the files of the data mirror (data/README.md)")
    return Path(place).resolve()
