"""Generic to specific: how the similarity of an image to its own captions grows with their descriptiveness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import DataError
from itm.report.aggregate import Summary, summarise
from itm.report.plots import Series

BINS = 8
CLEARLY = 0.05
"""Two captions of an image are compared when their normalised scores differ by more than this."""


@dataclass(frozen=True)
class Curve:
    """Mean descriptiveness of each bin, and the mean similarity in it, less the mean of the image's captions."""

    descriptiveness: NDArray[np.float64]
    similarity: NDArray[np.float64]


def curve(similarity: ArrayLike, normalised: ArrayLike, owner: ArrayLike, bins: int = BINS) -> Curve:
    """The within-image curve of similarity against descriptiveness, over bins of equally many captions.

    Args:
        similarity: (captions,) similarity of each caption to its own image.
        normalised: (captions,) descriptiveness dn.
        owner: (captions,) row of its image.
        bins: bins of dn; fewer where dn has fewer distinct values.

    >>> curve([0.1, 0.5, 0.2, 0.4], [0.0, 1.0, 0.0, 1.0], [0, 0, 1, 1], bins=2).similarity.round(2).tolist()
    [-0.15, 0.15]
    """
    s, d, image = (np.asarray(a) for a in (similarity, normalised, owner))
    s, d = s.astype(np.float64), d.astype(np.float64)
    if not len(s) == len(d) == len(image):
        raise DataError(f"order: {len(s)} similarities, {len(d)} scores and {len(image)} owners; one of each a caption")
    count = np.bincount(image)
    centred = s - (np.bincount(image, s) / np.maximum(count, 1))[image]
    edges = np.unique(np.quantile(d, np.linspace(0, 1, bins + 1)))[1:-1]
    place = np.unique(np.searchsorted(edges, d, side="right"), return_inverse=True)[1]
    size = np.bincount(place)
    return Curve(np.bincount(place, d) / size, np.bincount(place, centred) / size)


def agreement(similarity: ArrayLike, normalised: ArrayLike, owner: ArrayLike, clearly: float = CLEARLY) -> float:
    """The share of pairs of captions of one image whose more descriptive caption is the more similar one, 0..1.

    Pairs whose descriptiveness differs by at most `clearly` are left out; equal similarities count one half
    (so a constant model has 0.5, as a random one); NaN without pairs.

    >>> agreement([0.1, 0.5, 0.3], [0.0, 1.0, 0.5], [0, 0, 0])
    1.0
    >>> agreement([0.2, 0.2], [0.0, 1.0], [0, 0])
    0.5
    """
    s, d, image = (np.asarray(a) for a in (similarity, normalised, owner))
    order = np.argsort(image, kind="stable")
    s, d, image = s[order].astype(np.float64), d[order].astype(np.float64), image[order]
    agree, total = 0.0, 0
    # captions of an image are neighbours now: compare each with the next, the one after it, ...
    for step in range(1, int(np.bincount(image).max(initial=1))):
        near = (image[step:] == image[:-step]) & (np.abs(d[step:] - d[:-step]) > clearly)
        sign = (np.sign(s[step:] - s[:-step]) * np.sign(d[step:] - d[:-step]))[near]
        agree += float(np.sum((sign + 1) / 2))
        total += int(near.sum())
    return agree / total if total else float("nan")


def curve_series(curves: Mapping[str, Sequence[Curve]]) -> list[Series]:
    """A line a method, the mean over its seeds, with their spread as a band."""
    lines = []
    for method, runs in curves.items():
        values = np.array([run.similarity for run in runs])
        spread = values.std(axis=0, ddof=1).tolist() if len(runs) > 1 else []
        lines.append(Series(method, runs[0].descriptiveness.tolist(), values.mean(axis=0).tolist(), spread))
    return lines


def agreements(values: Mapping[str, Sequence[float]]) -> dict[str, Summary]:
    """Agreement of each method over seeds, to four decimals."""
    return {method: summarise(runs, 4) for method, runs in values.items()}
