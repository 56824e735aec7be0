"""Random numbers of pairs that depend on the pair and on nothing else."""

from __future__ import annotations

from torch import Tensor

_WORD = 2**32 - 1


def pair_noise(step: int, images: Tensor, texts: Tensor) -> Tensor:
    """Uniform numbers (images, texts) float32 in 0 <= x < 1, a fixed function of the step and of both rows' ids.

    A generator's state would have to be saved, and its numbers would go to places in the batch, not to pairs: here
    a resumed run, another order of the batch, or a batch spread over processes gives a pair the same number.

    Args:
        step: of training.
        images: (images,) long ids, 0 or more.
        texts: (texts,) long ids, 0 or more.
    """
    column = _mix(_mix(texts + 1) ^ ((step * 0x9E3779B1) & _WORD))
    mixed = _mix(_mix(images + 0x85EBCA6B).unsqueeze(1) ^ column.unsqueeze(0))
    return (mixed >> 8).float() / 2**24


def _mix(values: Tensor) -> Tensor:
    """A 32-bit integer hash; the multiplier has 27 bits, so that no product leaves 63."""
    values = values & _WORD
    for _ in range(2):
        values = ((values ^ (values >> 16)) * 0x45D9F3B) & _WORD
    return values ^ (values >> 16)
