"""A benchmark's items in protocol order: ids, photos, texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itm.vectors.ids import Ids


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images and captions in the order that decides ties and folds.

    owners: [captions] position of each caption's image. photos: file names of the images. texts: the captions; empty
    where the ids come from a source without texts.
    """

    image_ids: Ids
    caption_ids: Ids
    owners: NDArray[np.int64]
    photos: Sequence[str] = ()
    texts: Sequence[str] = ()

    def ids(self, kind: str) -> Ids:
        """The ids of "image" or "caption"."""
        return self.image_ids if kind == "image" else self.caption_ids

    def names(self, kind: str) -> list[str]:
        """Other names of the items, in order: PHOTO of an image, PHOTO#NUMBER of its captions from 0, no ending."""
        photos = [name.removesuffix(".jpg") for name in self.photos]
        if kind == "image" or not photos:
            return photos
        seen = np.zeros(len(photos), dtype=np.int64)
        found = []
        for owner in self.owners:
            found.append(f"{photos[owner]}#{seen[owner]}")
            seen[owner] += 1
        return found
