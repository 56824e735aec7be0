"""What a benchmark gives: metrics, per-query values, and the protocol that makes them comparable."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from itm.data.files import write_json, write_npz

Metrics = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Result:
    """One benchmark of one model.

    metrics: nested dict of numbers; recalls and correlations are fractions.
    per_query: arrays from which the metrics can be built again, compared and bootstrapped.
    protocol: sizes, denominators, thresholds, seeds.
    """

    metrics: Metrics
    per_query: dict[str, NDArray[Any]]
    protocol: dict[str, Any] = field(default_factory=dict)


def write_result(result: Result, metrics: Path, per_query: Path, digits: int) -> None:
    """Write the metrics as JSON, rounded, and the per-query arrays with the protocol as .npz."""
    write_per_query(result, per_query)
    write_json(metrics, rounded(result.metrics, digits))


def write_per_query(result: Result, path: Path) -> None:
    """Write the per-query arrays with the protocol as .npz."""
    write_npz(path, {"protocol": json.dumps(result.protocol, sort_keys=True), **result.per_query})


def rounded(metrics: Metrics, digits: int, where: str = "") -> Metrics:
    """The metrics rounded for a file kept in git; what is not a number becomes null, with a warning.

    >>> rounded({"i2t": {"r1": 0.123456}, "rsum": 31}, 3)
    {'i2t': {'r1': 0.123}, 'rsum': 31}
    """
    found: Metrics = {}
    for name, value in metrics.items():
        key = f"{where}.{name}" if where else name
        if isinstance(value, dict):
            found[name] = rounded(value, digits, key)
        elif isinstance(value, int):
            found[name] = value
        elif math.isfinite(value):
            found[name] = round(float(value), digits) + 0.0  # no negative zero
        else:
            warnings.warn(f"{key} is not defined for this model (a constant score?); written as null", stacklevel=2)
            found[name] = None
    return found


def flat(metrics: Metrics, prefix: str = "") -> dict[str, float]:
    """Nested metrics as one level, keys joined by '/'.

    >>> flat({"i2t": {"r1": 0.5}, "rsum": 3.0})
    {'i2t/r1': 0.5, 'rsum': 3.0}
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        found.update(flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return found


def id_hash(ids: NDArray[Any]) -> str:
    """Twelve hex digits that change with any id or their order: equal hashes mean the same gallery.

    >>> import numpy as np
    >>> id_hash(np.array([1, 2])) == id_hash(np.array(["1", "2"])) != id_hash(np.array([2, 1]))
    True
    """
    return hashlib.sha256("\n".join(str(one) for one in ids.tolist()).encode()).hexdigest()[:12]
