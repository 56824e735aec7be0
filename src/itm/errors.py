"""The one family of errors that a user can cause and a user can mend, and the words that messages share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, requires
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


_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "hydra": "hydra-core", "omegaconf": "hydra-core"} | {
    "multipart": "python-multipart",
    "open_clip": "open-clip-torch",
    "dvc_data": "dvc",
    "voluptuous": "dvc",
    "markupsafe": "jinja2",
    "eccv_caption": "eccv-caption",
}
"""Packages whose modules have other names, or come with them."""


def lacking(error: ModuleNotFoundError, extra: str = "") -> InstallError | None:
    """What to install where a module is missing; None when no extra of this package holds it: that is a fault of ours.

    Of several extras that hold it `extra` is named if it is one of them, else the smallest.

    >>> print(lacking(ModuleNotFoundError("No module named 'torch'", name="torch")))
    this needs the package torch, which is not installed: pip install 'graded-itm[model]'
    """
    module = (error.name or "").partition(".")[0]
    package = _PACKAGES.get(module, module.lower().replace("_", "-"))
    try:
        stated = requires("graded-itm") or []
    except PackageNotFoundError:
        stated = []
    extras: dict[str, set[str]] = {}
    for requirement in stated:
        name, _, marker = requirement.partition(";")
        for each in re.findall(r"extra == ['\"]([^'\"]+)", marker):
            extras.setdefault(each, set()).add(re.split(r"[^A-Za-z0-9._-]", name)[0].lower().replace("_", "-"))
    fitting = sorted((each for each in extras if package in extras[each]), key=lambda each: len(extras[each]))
    if not fitting:
        return None
    install = f"pip install 'graded-itm[{extra if extra in fitting else fitting[0]}]'"
    return InstallError(f"this needs the package {package}, which is not installed: {install}")


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
    shown = [str(item) for item in islice(items, limit)]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


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
