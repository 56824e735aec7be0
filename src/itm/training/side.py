"""Vectors of descriptions and captions as inputs of training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from itm.descriptions.side import Side
from itm.training.batches import Rows
from itm.training.inputs import Split


def add_side(split: Split, side: Side, several: str, image_rows: Rows, text_rows: Rows, root: int, seed: int) -> None:
    """Give the images of a split their descriptions' vectors, and its texts their own where there are any.

    An image with several descriptions is given one of them, drawn anew for each announced epoch (of the training
    images only: others are never announced), or their mean, as `several` says.

    Args:
        image_rows, text_rows: rows of the tables that the rows of the split stand for. root: that of the empty text.
        seed: of the draws, with the epoch.
    """
    images = int(max(image_rows.max(initial=0), side.image_rows.max(initial=0))) + 1

    def described(epoch: int | None) -> dict[str, Tensor]:
        draw = None if epoch is None else np.random.default_rng([seed, epoch])
        return {"description": torch.from_numpy(side.of_images(images, several, draw)[image_rows])}

    split.images.side = described(None)
    if several == "sampled" and side.counts(images)[image_rows].max(initial=0) > 1:
        split.images.redraw = described
    if side.captions is not None:
        split.texts.side = {"caption": torch.from_numpy(side.captions[text_rows])}
        split.root.side = {"caption": torch.from_numpy(side.captions[root : root + 1])}


def constants_of(side: Side) -> dict[str, Tensor]:
    """What a method is given once before training."""
    return {} if side.prototypes is None else {"prototypes": torch.from_numpy(side.prototypes)}
