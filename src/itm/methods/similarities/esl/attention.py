"""One similarity of a caption and an image from those of all words with all regions, by attention both ways.

For the scores R (words, regions) of one pair and a trained scale s:

- from words to regions: G = LeakyReLU(tanh R) with every region's column of unit length over the words, P = softmax
  of s G over the regions, and the mean over words of sum over regions of P R;
- from regions to words: the same with R transposed.

The similarity is the sum of the two, unbounded. Tokens that a mask leaves out take part in nothing: no length, no
softmax, no mean (published code lets padded regions take part). An image or a caption without tokens scores 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from itm.methods.similarities.esl.pyramid import EPSILON

SLOPE = 0.1

CELLS = {"cpu": 2**18, "cuda": 2**24}
"""Word-region scores that are worked on at a time: what a cache holds, or what keeps a GPU busy."""

REGIONS = 2048
"""Regions that are compared at a time, so that their vectors stay in a cache while the captions go by."""

KEPT_CELLS = 2**25
"""Word-region scores of a batch up to which training keeps what the backward pass needs; beyond, it computes again."""


def two_way(
    queries: Tensor,
    keys: Tensor,
    words: Tensor,
    regions: Tensor,
    scale: Tensor,
    cells: int = 0,
    kept: int = KEPT_CELLS,
) -> Tensor:
    """Similarities (images, texts) of stacked word and region vectors, a block of images and captions at a time.

    Captions of like length share a block, which is as long as its longest caption.

    Args:
        queries: (texts, words, width) float.
        keys: (images, regions, width) float.
        words: (texts, words) bool, True where a word is real.
        regions: (images, regions) bool.
        scale: s, a positive number.
        cells: most word-region scores at a time (at least one pair); 0 = what suits the device.
        kept: most word-region scores for which a backward pass keeps its intermediate values.
    """
    if not words.numel() or not regions.numel():
        return keys.new_zeros(len(keys), len(queries))
    lengths, order = _last(words).sort(stable=True)
    sizes, real = lengths.tolist(), words.sum(1)[order].tolist()
    again = torch.is_grad_enabled() and sum(sizes) * regions.numel() > kept
    cells = cells or CELLS.get(keys.device.type, CELLS["cuda"])
    height = regions.shape[1]
    side = max(min(REGIONS, cells // max(sizes[-1], 1)) // height, 1)
    blocks = list(_blocks(sizes, side * height, cells))
    found = []
    for some, seen in zip(torch.split(keys, side), torch.split(regions, side), strict=True):
        everywhere = bool(seen.all())
        row = []
        for rows, longest in blocks:
            part = order[rows]
            complete = everywhere, min(real[rows]) == longest
            given = (queries[part, :longest], some, words[part, :longest], seen, scale, complete)
            row.append(checkpoint(_block, *given, use_reentrant=False) if again else _block(*given))
        found.append(torch.cat(row))
    return torch.cat(found, 1)[torch.argsort(order)].T


def _block(
    queries: Tensor, keys: Tensor, words: Tensor, regions: Tensor, scale: Tensor, complete: tuple[bool, bool]
) -> Tensor:
    """Similarities (texts, images); complete: whether all regions and all words are real."""
    scores = (queries.flatten(0, 1) @ keys.flatten(0, 1).T).view(*words.shape, *regions.shape)
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    if torch.is_grad_enabled() and (scores.requires_grad or scale.requires_grad):
        return attend(scores, words, regions, scale)
    return attend_in_place(scores, None if complete[1] else words, None if complete[0] else regions, scale)


def attend(scores: Tensor, words: Tensor, regions: Tensor, scale: Tensor) -> Tensor:
    """Similarities (texts, images) of the scores (texts, words, images, regions) of all their tokens.

    Args:
        scores: float, of any value where a mask is False.
        words: (texts, words) bool.
        regions: (images, regions) bool.
        scale: s.
    """
    word, region = words[:, :, None, None], regions[None, None]
    scores = scores.masked_fill(~(word & region), 0)
    signal = torch.nn.functional.leaky_relu(scores.tanh(), SLOPE)
    squares = signal.square()

    def direction(asking: int, asked: int, real: Tensor) -> Tensor:
        logits = signal * (scale / (_root(squares.sum(asking, keepdim=True)) + EPSILON))
        # finite, so that an item without tokens gives no NaN; its scores are all 0
        attention = logits.masked_fill(~real, torch.finfo(logits.dtype).min).softmax(asked)
        return (attention * scores).sum(asked)

    # what padded words or regions find is 0: all of their scores are
    return _mean(direction(1, 3, region), 1, words) + _mean(direction(3, 1, word), 2, regions)


def attend_in_place(scores: Tensor, words: Tensor | None, regions: Tensor | None, scale: Tensor) -> Tensor:
    """`attend` in two further buffers and without a gradient; a mask that hides nothing is None."""
    padded = []
    for mask, shape in ((words, (slice(None), slice(None), None, None)), (regions, (None, None))):
        padded.append(None if mask is None else ~mask[shape])
        if mask is not None:
            scores = scores.masked_fill_(~mask[shape], 0)
    signal = torch.nn.functional.leaky_relu(scores.tanh(), SLOPE, inplace=True)
    buffer = signal.square()
    factors = {axis: scale / (buffer.sum(axis, keepdim=True).sqrt_() + EPSILON) for axis in (1, 3)}

    def direction(asking: int, asked: int, hidden: Tensor | None) -> Tensor:
        torch.mul(signal, factors[asking], out=buffer)
        if hidden is not None:
            buffer.masked_fill_(hidden, torch.finfo(buffer.dtype).min)
        total = buffer.sub_(buffer.amax(asked, keepdim=True)).exp_().sum(asked)
        return buffer.mul_(scores).sum(asked).div_(total)

    forth = _mean(direction(1, 3, padded[1]), 1, words)
    return forth + _mean(direction(3, 1, padded[0]), 2, regions)


def _mean(found: Tensor, axis: int, mask: Tensor | None) -> Tensor:
    """The mean (texts, images) over the real tokens of an axis; 0 where there is none."""
    if mask is None:
        return found.mean(axis)
    count = mask.sum(1).clamp(min=1)
    return found.sum(axis) / (count[:, None] if axis == 1 else count)


def _root(squares: Tensor) -> Tensor:
    """Square roots whose gradient at 0 is taken as 0."""
    zero = squares == 0
    return squares.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _last(mask: Tensor) -> Tensor:
    """The length (rows,) that holds all real positions of each row."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * places).amax(1)


def _blocks(lengths: list[int], regions: int, cells: int) -> Iterator[tuple[slice, int]]:
    """Slices of captions, given their lengths in rising order, and the length of each slice's longest caption."""
    begin = 0
    while begin < len(lengths):
        end = begin + 1
        while end < len(lengths) and (end + 1 - begin) * lengths[end] * regions <= cells:
            end += 1
        yield slice(begin, end), max(lengths[end - 1], 1)
        begin = end
