"""Photos and texts that a benchmark asks a model to encode, in protocol order, and the arrays that hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.errors import ConfigError, DataError, nearest
from itm.evaluation.published import coco_files, hierarcaps, himo_docci, pairs, sugarcrepe
from itm.vectors import Gallery

GALLERIES = {
    "coco": "coco",
    "cxc": "coco",
    "eccv": "coco",
    "flickr30k": "flickr30k",
    "flickr8k": "flickr8k",
    "flickr8k-expert": "flickr8k",
    "flickr8k-crowdflower": "flickr8k",
    "hierarcaps": "hierarcaps",
    "sugarcrepe": "sugarcrepe",
    "himo-docci": "himo-docci",
}
"""The gallery of each benchmark: those on one gallery share its embeddings."""

_OWN: dict[str, Callable[[Path | None], Gallery]] = {
    "sugarcrepe": lambda folder: sugarcrepe.read_foils(folder).gallery,
    "himo-docci": lambda folder: himo_docci.read_chains(folder).gallery,
}


@dataclass(frozen=True, eq=False)
class Items:
    """Photos and texts with their ids. In "hierarcaps", whose file has no ids, they are positions, and the last text
    is the root, the empty caption."""

    gallery: str
    image_ids: NDArray[np.int64]
    photos: Sequence[str]
    caption_ids: NDArray[np.int64]
    texts: Sequence[str]

    def digest(self) -> str:
        """A hash of all ids, names and texts."""
        return hashlib.sha256("\0".join(map(str, self.rows())).encode()).hexdigest()

    def rows(self) -> Iterator[tuple[str, int, str]]:
        """(kind, id, file name or text) of every item, in protocol order."""
        for kind, ids, values in (("image", self.image_ids, self.photos), ("text", self.caption_ids, self.texts)):
            yield from ((kind, int(one), value) for one, value in zip(ids, values, strict=True))

    def arrays(self, image: NDArray[Any] | None, text: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
        """The arrays of a file that `itm evaluate --embeddings` reads; None = not encoded."""
        found: dict[str, NDArray[Any]] = {}
        if self.gallery == "hierarcaps":
            found |= {} if image is None else {"image_embeddings": image}
            found |= {} if text is None else {"text_embeddings": text[:-1], "root_embedding": text[-1]}
            return found
        for kind, ids, values in (("image", self.image_ids, image), ("caption", self.caption_ids, text)):
            found |= {} if values is None else {f"{kind}_ids": ids, f"{kind}_embeddings": values}
        return found


def read_items(benchmark: str, folder: Path | None = None) -> Items:
    """The items of a benchmark, from its own files.

    Raises:
        ConfigError: the benchmark is unknown, or has no items of its own ("pairs").
        DataError: its files are not at hand, or are without texts.
    """
    if benchmark not in GALLERIES:
        hint = "its items are yours: encode them and give --embeddings" if benchmark == "pairs" else ""
        raise ConfigError(
            f"no items of a benchmark '{benchmark}'; {hint or nearest(benchmark, GALLERIES)}",
            reason="unknown-benchmark",
        )
    name = GALLERIES[benchmark]
    if name == "hierarcaps":
        _, texts, photos = hierarcaps.read_chains(hierarcaps.find_chains(folder))
        return Items(name, np.arange(len(photos)), photos, np.arange(len(texts) + 1), [*texts, ""])
    if name in _OWN:
        gallery = _OWN[name](folder)
    else:
        gallery = coco_files.read_gallery(folder) if name == "coco" else pairs.read_gallery(name, folder)
    if len(gallery.texts) != len(gallery.caption_ids):
        raise DataError(
            f"{name}: the captions' texts are not at hand; name the folder of karpathy_captions.csv with --annotations,"
            " or set ITM_MIRROR to a folder that has it",
            reason="missing-annotations",
        )
    return Items(name, gallery.image_ids, gallery.photos, gallery.caption_ids, gallery.texts)
