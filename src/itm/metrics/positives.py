"""The right answers among gallery items to each query, any number of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError, first_few


@dataclass(frozen=True, eq=False)
class Positives:
    """The right answers of each query, as sorted and distinct gallery positions.

    Query q owns `items[starts[q]:starts[q + 1]]`. `missing[q]` counts answers known to be right that the
    gallery does not hold: they count in R (R-Precision, mAP@R) and can never be retrieved.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    gallery: int
    missing: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def from_pairs(
        cls, queries: ArrayLike, items: ArrayLike, shape: tuple[int, int], missing: ArrayLike | None = None
    ) -> Positives:
        """The answers listed as (query, item) pairs in any order; a repeated pair counts once.

        Args:
            queries: [pairs] int, positions 0 .. shape[0]-1.
            items: [pairs] int, positions 0 .. shape[1]-1.
            shape: queries, gallery items.
            missing: [queries] int, answers outside the gallery (none when left out).

        Raises:
            MetricError: the two lists differ in length, or a position is outside `shape`.

        >>> Positives.from_pairs([0, 2, 0], [4, 1, 3], (3, 5)).of(0)
        array([3, 4])
        """
        query = np.asarray(queries, dtype=np.int64).reshape(-1)
        item = np.asarray(items, dtype=np.int64).reshape(-1)
        if len(query) != len(item):
            raise MetricError(f"positives: {len(query)} queries for {len(item)} items; they are pairs", reason="pairs")
        for name, values, limit in (("query", query, shape[0]), ("item", item, shape[1])):
            bad = values[(values < 0) | (values >= limit)]
            if len(bad):
                raise MetricError(
                    f"positives: {len(bad)} {name} positions are outside 0..{limit - 1} ({first_few(bad)})",
                    reason="outside-gallery",
                )
        keys = query * shape[1] + item
        if (keys[1:] <= keys[:-1]).any():
            keys.sort()  # and not np.unique, whose hashing is many times slower on millions of pairs
            keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
        counts = np.bincount(keys // shape[1], minlength=shape[0]) if len(keys) else np.zeros(shape[0], dtype=np.int64)
        absent = np.zeros(shape[0], dtype=np.int64) if missing is None else np.asarray(missing, dtype=np.int64)
        if absent.shape != (shape[0],):
            raise MetricError(f"positives: `missing` has shape {absent.shape}, not ({shape[0]},)", reason="shape")
        return cls(np.concatenate(([0], np.cumsum(counts))), keys % shape[1] if shape[1] else keys, shape[1], absent)

    @classmethod
    def from_owners(cls, owners: ArrayLike, images: int) -> tuple[Positives, Positives]:
        """Image-to-text and text-to-image answers when caption c belongs to image `owners[c]`.

        >>> i2t, t2i = Positives.from_owners([0, 0, 1], images=2)
        >>> i2t.of(0), t2i.of(2)
        (array([0, 1]), array([1]))
        """
        owner = np.asarray(owners, dtype=np.int64)
        captions = np.arange(len(owner))
        return (
            cls.from_pairs(owner, captions, (images, len(owner))),
            cls.from_pairs(captions, owner, (len(owner), images)),
        )

    @classmethod
    def from_mask(cls, mask: ArrayLike) -> Positives:
        """The answers where a [queries, gallery] matrix is true.

        >>> Positives.from_mask([[True, False], [True, True]]).counts
        array([1, 2])
        """
        matrix = np.asarray(mask, dtype=bool)
        query, item = np.nonzero(matrix)
        return cls.from_pairs(query, item, (matrix.shape[0], matrix.shape[1]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """[queries] retrievable answers of each query."""
        return np.diff(self.starts)

    @property
    def relevant(self) -> NDArray[np.int64]:
        """[queries] R: all answers of each query, with those outside the gallery."""
        return self.counts + self.missing

    @property
    def queries(self) -> NDArray[np.int64]:
        """[pairs] the query of each entry of `items`."""
        return np.repeat(np.arange(len(self)), self.counts)

    def of(self, query: int) -> NDArray[np.int64]:
        """The answers of one query, ascending."""
        return self.items[self.starts[query] : self.starts[query + 1]]

    def select(self, queries: ArrayLike) -> Positives:
        """The answers of some queries, in the order given; the gallery stays whole."""
        chosen = np.asarray(queries, dtype=np.int64)
        counts = self.counts[chosen]
        starts = np.concatenate(([0], np.cumsum(counts)))
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        return Positives(
            starts, self.items[np.repeat(self.starts[chosen], counts) + within], self.gallery, self.missing[chosen]
        )

    def contains(self, queries: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each (query, item) pair is a right answer; the two arrays broadcast."""
        if not len(self.items):
            return np.zeros(np.broadcast_shapes(queries.shape, items.shape), dtype=bool)
        keys = self.queries * self.gallery + self.items
        wanted = np.asarray(queries) * self.gallery + items
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found: NDArray[np.bool_] = keys[place] == wanted
        return found
