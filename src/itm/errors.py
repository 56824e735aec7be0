"""The one family of errors that a user can cause and a user can mend, and the words that messages share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice


class ProjectError(Exception):
    """A fault outside the code: the message says what, where, how many, and what to do next.

    `reason` is a stable machine-readable code such as ``"unknown-key"``; stages print the message
    without a traceback and exit with status 1.
    """

    reason: str = "error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class ConfigError(ProjectError):
    """A parameter in params.yaml (or a preset, or an override) is unknown, mistyped or out of range."""

    reason = "config"


class DataError(ProjectError):
    """A file or a table is missing, damaged, or breaks its contract."""

    reason = "data"


class MetricError(ProjectError):
    """A metric was asked for something it does not define (shapes, empty galleries, unknown ids)."""

    reason = "metric"


class ModelError(ProjectError):
    """Weights, towers or a saved model cannot be used as asked."""

    reason = "model"


class TrainingError(ProjectError):
    """Training stopped: no device, a loss that is not finite, a collapsed model."""

    reason = "training"


class PipelineError(ProjectError):
    """DVC and Snakemake, or the pipeline and the workspace, do not agree."""

    reason = "pipeline"


class InstallError(ProjectError):
    """A package that is not part of the core is not installed."""

    reason = "not-installed"


def first_few(items: Iterable[object], total: int | None = None, limit: int = 3) -> str:
    """The first `limit` items as text, with how many more there are.

    >>> first_few([4, 5, 6, 7, 8])
    '4, 5, 6 and 2 more'
    >>> first_few(["a"])
    'a'
    """
    if total is None:
        items = list(items)
        total = len(items)
    first = [cut(str(item), max(40, 600 // limit)) for item in islice(items, limit)]
    more = total - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def cut(text: str, longest: int = 200) -> str:
    """The text, or its beginning where it is longer than a message may have it."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def shown(value: object, longest: int = 60) -> str:
    """A value from elsewhere as Python writes it, on one line and not too long.

    >>> shown("abcdef", 4)
    "'abc..."
    """
    return cut(repr(value), longest)


def printable(text: str) -> str:
    """A text from elsewhere (a file's name, a server's words) on one line: what cannot be printed as escapes.

    >>> printable("a \\x1b[31m\\udcff.png")
    'a \\\\x1b[31m\\\\udcff.png'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known word, or all of them when none is close.

    >>> nearest("retreival", ["retrieval", "cxc"])
    "did you mean 'retrieval'?"
    >>> nearest("x", ["retrieval", "cxc"])
    'known: cxc, retrieval'
    """
    words = sorted(known)
    close = get_close_matches(name, words, n=1)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(words)


def size_text(size: float) -> str:
    """Bytes in the unit that suits them.

    >>> size_text(0), size_text(1500), size_text(13.5e9)
    ('0 B', '1.5 kB', '13.5 GB')
    """
    for unit in ("B", "kB", "MB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
