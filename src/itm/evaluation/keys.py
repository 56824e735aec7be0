"""Keys of metrics: the names of nested figures joined by slashes, such as `retrieval/i2t/r1`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from itm.errors import ConfigError, DataError, first_few, nearest
from itm.parse import flatten


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Nested metrics under their keys, in their order; null becomes NaN.

    Raises:
        DataError: a value is not a number.

    >>> flat_metrics({"i2t": {"r1": 0.25, "r5": None}, "rsum": 31})
    {'i2t/r1': 0.25, 'i2t/r5': nan, 'rsum': 31}
    """
    found: dict[str, float] = {}
    for key, value in flatten(metrics, "/").items():
        if value is None:
            found[key] = math.nan
        elif isinstance(value, int | float):
            found[key] = value
        else:
            raise DataError(
                f"metrics key {key}: expected a number, found {type(value).__name__}", reason="not-a-number"
            )
    return found


def metric_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Nested metrics as aligned lines of text, one a key.

    >>> metric_lines({"i2t": {"r1": 0.25, "r5": None}, "rsum": 31})
    ['i2t/r1  0.2500', 'i2t/r5  –', 'rsum    31.0000']
    """
    flat = flat_metrics(metrics)
    width = max(map(len, flat), default=0)
    return [f"{key:{width}}  {'–' if math.isnan(value) else format(value, '.4f')}" for key, value in flat.items()]


def chosen_keys(names: Iterable[str], known: Collection[str]) -> list[str]:
    """The known keys that names stand for: a key, all keys below it, or wildcards.

    Raises:
        ConfigError: a name stands for none.

    >>> chosen_keys(["i2t", "*/r5"], ["i2t/r1", "i2t/r5", "t2i/r5", "rsum"])
    ['i2t/r1', 'i2t/r5', 't2i/r5']
    """
    found: dict[str, None] = {}
    for name in names:
        own = _named(name, known)
        if not own:
            raise ConfigError(f"no metric '{name}'; {meant(name, known)}", reason="unknown-metric")
        found |= dict.fromkeys(own)
    return list(found)


def meant(name: str, known: Collection[str]) -> str:
    """A hint for a name that stands for no key: the name with slashes for dots, the closest key, or the first ones.

    >>> meant("retrieval.i2t", ["retrieval/i2t/r1", "retrieval/rsum"])
    "did you mean 'retrieval/i2t'?"
    >>> meant("retrieval.rsun", ["retrieval/i2t/r1", "retrieval/rsum"])
    "did you mean 'retrieval/rsum'?"
    >>> meant("x", ["retrieval/i2t/r1", "retrieval/rsum"])
    'there are retrieval/i2t/r1, retrieval/rsum'
    """
    spelt = name.replace(".", "/")
    if _named(spelt, known):
        return f"did you mean '{spelt}'?"
    hint = nearest(spelt, known)
    return hint if hint.startswith("did you mean") else f"there are {first_few(known)}"


def _named(name: str, known: Iterable[str]) -> list[str]:
    return [key for key in known if key == name or key.startswith(f"{name}/") or fnmatchcase(key, name)]
