"""Images that are in more than one place: copies inside a split, and leaks between training and evaluation."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
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
_AT_ONCE = 64


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
    """Every image that is in an earlier row too, inside and across splits: a pair for each split that holds it.

    Exact: the same sha256, with the first image of all that have it. Perceptual: fingerprints at most DISTANCE bits
    apart between training and evaluation, at most 3 elsewhere (where a copy leaks nothing), confirmed on thumbnails,
    with the first such image of each split. So n copies of a photo are n pairs and not n squared.

    Args:
        images: columns image_id, split, sha256; training rows first.
        fingerprints: (images,) uint64.
        thumbnails: (images, side, side, 3) uint8.
        by_name: evaluation image ids found among the training images by their name, by benchmark.
    """
    ids, splits, checksums = (as_list(images[name]) for name in ("image_id", "split", "sha256"))
    pairs = []
    for rows in images.groupby("sha256", sort=False).indices.values():
        first, *others = sorted(int(row) for row in rows)
        pairs += [Pair("exact", ids[first], splits[first], ids[row], splits[row]) for row in others]
    for one, other in sorted(_alike(splits, checksums, fingerprints, thumbnails)):
        pairs.append(Pair("perceptual", ids[one], splits[one], ids[other], splits[other]))
    return LeakReport(pairs, by_name or {})


def _alike(
    splits: list[str], checksums: list[str], fingerprints: NDArray[np.uint64], thumbnails: NDArray[np.uint8]
) -> Iterator[tuple[int, int]]:
    """(earlier row, row) of other bytes that look the same, the earliest of each split for each row.

    Fingerprints are compared with each other once, however many images have them, and of images with the same bytes
    only the first of a split is looked at.
    """
    different, group_of = np.unique(fingerprints, return_inverse=True)
    near = _near_groups(different, group_of, np.array([split == "train" for split in splits], dtype=bool))
    before: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    listed: set[tuple[str, str]] = set()
    known = list(dict.fromkeys(splits))
    for row, (group, split, checksum) in enumerate(zip(group_of.tolist(), splits, checksums, strict=True)):
        for other in known:
            groups = [group, *near[(split == "train") != (other == "train")].get(group, ())]
            earlier = heapq.merge(*(before[each, other] for each in groups if (each, other) in before))
            found = _first_alike(row, (one for one in earlier if checksums[one] != checksum), thumbnails)
            if found is not None:
                yield found, row
        if (split, checksum) not in listed:
            listed.add((split, checksum))
            before[group, split].append(row)


def _near_groups(
    different: NDArray[np.uint64], group_of: NDArray[np.intp], train: NDArray[np.bool_]
) -> dict[bool, defaultdict[int, list[int]]]:
    """The other fingerprints that are near each one: under True between training and evaluation, else under False."""
    near: dict[bool, defaultdict[int, list[int]]] = {True: defaultdict(list), False: defaultdict(list)}
    learnt, asked = np.unique(group_of[train]), np.unique(group_of[~train])
    across = near_pairs(different[learnt], different[asked], DISTANCE)
    across = np.unique(np.sort(np.stack([learnt[across[:, 0]], asked[across[:, 1]]], axis=1), axis=1), axis=0)
    for leaks, pairs in ((True, across), (False, near_pairs_within(different))):
        for one, other in pairs.tolist():
            if one != other:
                near[leaks][one].append(other)
                near[leaks][other].append(one)
    return near


def _first_alike(row: int, earlier: Iterable[int], thumbnails: NDArray[np.uint8]) -> int | None:
    rest = iter(earlier)
    while some := list(islice(rest, _AT_ONCE)):
        alike = np.flatnonzero(difference(thumbnails[some], thumbnails[row]) <= DIFFERENCE)
        if len(alike):
            return some[int(alike[0])]
    return None
