"""Batches: B distinct images with m captions each, from a seed."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from itm.errors import TrainingError, first_few

log = logging.getLogger(__name__)

_FEWEST = 2
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class BatchRows:
    """Rows of a batch. images: (B,) image rows. captions: (B * m,) caption rows. owner: (B * m,) index into images."""

    images: Rows
    captions: Rows
    owner: Rows


def largest_batch(owner: Rows, batch_images: int, shares: int = 1) -> int:
    """`batch_images`, or as many as there are where there are fewer: a number that `shares` processes can share.

    Raises:
        TrainingError: that is less than two images: there is nothing to compare.
    """
    images = int(owner.max()) + 1 if len(owner) else 0
    if images >= batch_images:
        return batch_images
    size = images - images % shares
    if size < _FEWEST:
        raise TrainingError(
            f"the training split has {images} images, and a batch needs {_FEWEST} for {shares} processes; give more "
            "images",
            reason="few-images",
        )
    log.warning(
        "train.batch_images is %d, and the training split has %d images: %d a batch", batch_images, images, size
    )
    return size


class Sampler:
    """Batches of distinct images, each with `captions_per_image` of its captions.

    Over the epochs an image's captions take turns in an order of its own, so that all are seen equally often.
    The order of everything depends on the seed and the epoch only; the last incomplete batch is left out.

    An epoch over "captions" has as many batches as there are captions for: passes over the images follow each other
    without a gap. Where two meet in a batch, the second begins with images that the first has not just shown.

    Raises:
        TrainingError: an image has no caption, or there are fewer images than a batch holds.
    """

    def __init__(
        self, owner: Rows, batch_images: int, captions_per_image: int, seed: int, over: str = "images"
    ) -> None:
        self.images = int(owner.max()) + 1 if len(owner) else 0
        if self.images < batch_images:
            raise TrainingError(
                f"train.batch_images is {batch_images} but the training split has {self.images} images; lower it",
                reason="batch-too-large",
            )
        self.order = np.argsort(owner, kind="stable")
        self.counts = np.bincount(owner, minlength=self.images)
        empty = np.flatnonzero(self.counts == 0)
        if len(empty):
            raise TrainingError(
                f"{len(empty)} training images have no caption (rows {first_few(empty)})", reason="no-caption"
            )
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self.batch_images, self.captions_per_image, self.seed = batch_images, captions_per_image, seed
        self.passes = math.ceil(len(owner) / (self.images * captions_per_image)) if over == "captions" else 1
        of_all = len(owner) // captions_per_image if over == "captions" else self.images
        self._steps = of_all // batch_images

    def steps(self) -> int:
        """Batches in an epoch."""
        return self._steps

    def epoch(self, epoch: int) -> Iterator[BatchRows]:
        """The batches of an epoch, the same for the same seed."""
        generator = np.random.default_rng([self.seed, epoch])
        # The turn order of an image's captions must not change between epochs, hence a generator without the epoch
        rank = self._caption_order()
        order = generator.permutation(self.images)
        turn = np.repeat(np.arange(self.passes), self.images) + epoch * self.passes
        for _ in range(self.passes - 1):
            open_batch = order[len(order) - len(order) % self.batch_images :]
            following = generator.permutation(self.images)
            shown = np.isin(following, open_batch)
            order = np.concatenate([order, following[~shown], following[shown]])
        for step in range(self.steps()):
            part = slice(step * self.batch_images, (step + 1) * self.batch_images)
            images, first = order[part], turn[part][:, None] * self.captions_per_image
            turns = (first + np.arange(self.captions_per_image)) % self.counts[images][:, None]
            captions = rank[self.starts[images][:, None] + turns]
            owner = np.repeat(np.arange(len(images)), self.captions_per_image)
            yield BatchRows(images, captions.reshape(-1), owner)

    def _caption_order(self) -> Rows:
        noise = np.random.default_rng([self.seed, 2**31]).random(len(self.order))
        image_of = np.repeat(np.arange(self.images), self.counts)
        return self.order[np.lexsort((noise, image_of))]
