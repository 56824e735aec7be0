"""The order from generic to specific: growth of an image's similarity to its captions with their descriptiveness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.data.layout import HIERARCHIES
from itm.data.tables import read_columns
from itm.errors import DataError
from itm.report.plots import Series
from itm.report.results import Results, Summary, summarise

BINS = 8
CLEARLY = 0.05
"""Two captions of an image are compared when their dn differ by more than this."""


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
        raise DataError(
            f"order: {len(s)} similarities, {len(d)} values of dn and {len(image)} owners; one of each a caption"
        )
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


BENCHMARK = "hierarcaps"
SHOWN = 10


@dataclass(frozen=True)
class Step:
    """A text met on the way; `skipped` counts the texts left out before it."""

    text: str
    met: bool
    skipped: int = 0


@dataclass(frozen=True)
class PathExample:
    """An image, its chain (level 1 first), and the distinct texts that each method meets."""

    image_id: str
    why: str
    chain: list[str]
    paths: Mapping[str, list[Step]]


def path_examples(results: Results, clean: Path, featured: str, count: int) -> list[PathExample]:
    """Good and bad paths of `featured` (half each), with those of the other methods; empty without HierarCaps."""
    if BENCHMARK not in results.benchmarks or count < 1:
        return []
    seed = results.seeds[0]
    arrays = {method: results.arrays(method, seed, BENCHMARK) for method in results.methods}
    columns = read_columns(clean / HIERARCHIES, ("image_id", "level", "text", "text_id")).values()
    image_of, level, text, text_id = (column.tolist() for column in columns)
    text_of = dict(zip(text_id, text, strict=True))
    chains: dict[str, list[str]] = {}
    for _, image, each in sorted(zip(range(len(level)), image_of, text, strict=True)):
        chains.setdefault(image, []).append(each)
    quality = arrays[featured]["radius_levels_recall"] + arrays[featured]["radius_levels_precision"]
    order = np.argsort(-quality, kind="stable").tolist()
    good = order[: (count + 1) // 2]
    bad = [row for row in reversed(order) if row not in good][: count // 2]
    ids = arrays[featured]["image_ids"].tolist()
    examples = []
    for row, why in [(r, "among the best paths") for r in good] + [(r, "among the worst paths") for r in bad]:
        chain = chains[ids[row]]
        paths = {}
        for method, stored in arrays.items():
            met = dict.fromkeys(text_of[each] for each in stored["path_text_ids"][row].tolist())
            paths[method] = shortened([Step(each, each in chain) for each in met])
        examples.append(PathExample(ids[row], f"{why} of {featured}", chain, paths))
    return examples


def shortened(steps: list[Step], limit: int = SHOWN) -> list[Step]:
    """At most `limit` steps: those of the chain, the first, the last, and others evenly spaced between them.

    >>> [(s.text, s.skipped) for s in shortened([Step(t, t == "c") for t in "abcdefg"], 3)]
    [('a', 0), ('c', 1), ('g', 3)]
    """
    if len(steps) <= limit + 2:  # leaving out one or two texts saves no line
        return steps
    kept = {0, len(steps) - 1, *(place for place, step in enumerate(steps) if step.met)}
    others = [place for place in range(len(steps)) if place not in kept]
    for place in np.linspace(0, len(others) - 1, max(0, limit - len(kept)) + 2)[1:-1].round().astype(int).tolist():
        kept.add(others[place])
    places = sorted(kept)
    return [replace(steps[at], skipped=at - before - 1) for before, at in zip([-1, *places], places, strict=False)]
