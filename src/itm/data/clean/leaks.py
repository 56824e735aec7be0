"""Images that are in more than one place: copies inside a split, and leaks between training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.clean.fingerprints import difference, near_pairs, near_pairs_within
from itm.data.tables import as_list
from itm.errors import DataError, first_few

DISTANCE = 6
"""Fingerprints (64 bits) this near are looked at closely; re-encoding and resizing change 0 to 4 bits."""
DIFFERENCE = 6.0
"""Thumbnails (0..255) this near show the same picture."""


@dataclass(frozen=True)
class Pair:
    """Two images that are the same bytes ("exact") or the same picture ("perceptual")."""

    kind: str
    first: str
    first_split: str
    second: str
    second_split: str

    @property
    def is_leak(self) -> bool:
        """Whether one of the two is trained on and the other is evaluated on."""
        return (self.first_split == "train") != (self.second_split == "train")


@dataclass
class LeakReport:
    """All pairs of equal images; `by_name` lists evaluation images that the training split holds by their id."""

    pairs: list[Pair] = field(default_factory=list)
    by_name: dict[str, list[str]] = field(default_factory=dict)

    @property
    def leaks(self) -> list[Pair]:
        """The pairs between training and evaluation."""
        return [pair for pair in self.pairs if pair.is_leak]

    def figures(self) -> dict[str, Any]:
        """Counts by kind and pair of splits, for quality.json; the pairs themselves where they are few."""
        counts: dict[str, int] = {}
        for pair in self.pairs:
            key = f"{pair.kind} {pair.first_split}-{pair.second_split}"
            counts[key] = counts.get(key, 0) + 1
        listed = [
            f"{pair.kind}: {pair.first} ({pair.first_split}) = {pair.second} ({pair.second_split})"
            for pair in self.pairs
        ]
        return {
            "same_images": dict(sorted(counts.items())),
            "same_images_listed": listed[:50],
            "leaks": len(self.leaks),
            "leaks_by_name": {name: len(ids) for name, ids in sorted(self.by_name.items())},
        }

    def check(self, strict: bool) -> list[str]:
        """One line a kind of leak, for the log.

        Raises:
            DataError: there is a leak and `strict` is set.
        """
        lines = []
        if self.leaks:
            shown = first_few([f"{pair.first} = {pair.second}" for pair in self.leaks])
            lines.append(f"{len(self.leaks)} images of the training split are also evaluated on: {shown}")
        for name, ids in sorted(self.by_name.items()):
            if ids:
                lines.append(f"{len(ids)} images of {name} are in the training split: {first_few(ids)}")
        if lines and strict:
            raise DataError("; ".join(lines) + ". Set clean.strict_leaks to false to be warned only", reason="leak")
        return lines


def named_in_training(images: pd.DataFrame, ratings: pd.DataFrame, hierarchies: pd.DataFrame) -> dict[str, list[str]]:
    """The training images that ratings or chains are about, by benchmark ("hierarcaps" or the kind of rating)."""
    trained = set(as_list(images.loc[images["split"] == "train", "image_id"]))
    found = {"hierarcaps": sorted(trained & set(as_list(hierarchies["image_id"])))}
    for kind, rows in ratings.groupby("kind"):
        rated = pd.concat([rows["image_id_1"], rows["image_id_2"]]).dropna()
        found[str(kind)] = sorted(trained & set(as_list(rated)))
    return {name: ids for name, ids in found.items() if ids}


def find_leaks(
    images: pd.DataFrame,
    fingerprints: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    by_name: dict[str, list[str]] | None = None,
) -> LeakReport:
    """All pairs of equal images, inside and across splits.

    Exact: the same sha256. Perceptual: fingerprints at most DISTANCE bits apart between training and evaluation, at
    most 3 elsewhere (where a copy leaks nothing), confirmed on thumbnails.

    Args:
        images: columns image_id, split, sha256.
        fingerprints: (images,) uint64.
        thumbnails: (images, side, side, 3) uint8.
        by_name: evaluation image ids found among the training images by their name, by benchmark.
    """
    ids, splits = as_list(images["image_id"]), as_list(images["split"])
    pairs = []
    for rows in images.groupby("sha256", sort=False).indices.values():
        first, *others = sorted(int(row) for row in rows)
        pairs += [Pair("exact", ids[first], splits[first], ids[row], splits[row]) for row in others]
    train = np.flatnonzero(images["split"] == "train")
    rest = np.flatnonzero(images["split"] != "train")
    checksums = images["sha256"].to_numpy(dtype=object)
    near = near_pairs(fingerprints[train], fingerprints[rest], DISTANCE)
    candidates = {(int(train[left]), int(rest[right])) for left, right in near.tolist()}
    candidates |= {(left, right) for left, right in near_pairs_within(fingerprints).tolist()}
    for one, other in sorted(candidates):
        if checksums[one] != checksums[other] and difference(thumbnails[one], thumbnails[other]) <= DIFFERENCE:
            pairs.append(Pair("perceptual", ids[one], splits[one], ids[other], splits[other]))
    return LeakReport(pairs, by_name or {})
