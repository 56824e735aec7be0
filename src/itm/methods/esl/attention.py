"""From the scores of all words with all regions to one score of a caption with an image, by attention both ways.

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

from itm.methods.esl.pyramid import EPSILON

SLOPE = 0.1

CELLS = 2**21
"""Word-region scores that are held at a time where no gradient is needed."""

KEPT_CELLS = 2**25
"""Word-region scores of a batch up to which training keeps what the backward pass needs; beyond, it computes again."""


def attend(scores: Tensor, words: Tensor, regions: Tensor, scale: Tensor) -> Tensor:
    """Similarities (texts, images) of the scores (texts, words, images, regions) of all their tokens.

    Args:
        scores: float, of any value where a mask is False.
        words: (texts, words) bool, True where a word is real.
        regions: (images, regions) bool.
        scale: s, a positive number.
    """
    word, region = words[:, :, None, None], regions[None, None]
    scores = scores.masked_fill(~(word & region), 0)
    signal = torch.nn.functional.leaky_relu(scores.tanh(), SLOPE)
    squares = signal.square()
    to_regions = _direction(scores, signal, squares, 1, 3, region, scale)  # (texts, words, images)
    to_words = _direction(scores, signal, squares, 3, 1, word, scale)  # (texts, images, regions)
    forth = (to_regions * word[..., 0]).sum(1) / words.sum(1).clamp(min=1)[:, None]
    back = (to_words * region[0]).sum(2) / regions.sum(1).clamp(min=1)
    return forth + back


def _direction(
    scores: Tensor, signal: Tensor, squares: Tensor, asking: int, asked: int, real: Tensor, scale: Tensor
) -> Tensor:
    """What the tokens of axis `asking` find on axis `asked`, which the result lacks."""
    logits = scale * (signal / (_length(squares, asking) + EPSILON))
    # finite, so that an item without tokens gives no NaN; its scores are all 0
    attention = logits.masked_fill(~real, torch.finfo(logits.dtype).min).softmax(asked)
    return (attention * scores).sum(asked)


def _length(squares: Tensor, axis: int) -> Tensor:
    """Lengths over an axis; the root has no slope at 0, where the gradient is taken as 0."""
    total = squares.sum(axis, keepdim=True)
    zero = total == 0
    return total.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def two_way(
    queries: Tensor,
    keys: Tensor,
    words: Tensor,
    regions: Tensor,
    scale: Tensor,
    cells: int = CELLS,
    kept: int = KEPT_CELLS,
) -> Tensor:
    """Similarities (images, texts) of stacked word and region vectors, a block of captions at a time.

    Captions of like length share a block, which is as long as its longest caption.

    Args:
        queries: (texts, words, width) float.
        keys: (images, regions, width) float.
        words: (texts, words) bool.
        regions: (images, regions) bool.
        scale: s, a positive number.
        cells: most word-region scores at a time (at least one caption with all images).
        kept: most word-region scores for which a backward pass keeps its intermediate values.
    """
    lengths = _last(words)
    order = torch.argsort(lengths, stable=True)
    flat = keys.flatten(0, 1).T
    again = torch.is_grad_enabled() and int(lengths.sum()) * len(flat.T) > kept

    def block(queries: Tensor, flat: Tensor, words: Tensor, scale: Tensor) -> Tensor:
        scores = (queries.flatten(0, 1) @ flat).view(*words.shape, *regions.shape)
        return attend(scores, words, regions, scale)

    found = []
    for rows, longest in _blocks(lengths[order].tolist(), max(regions.numel(), 1), cells):
        part = order[rows]
        given = (queries[part, :longest], flat, words[part, :longest], scale)
        found.append(checkpoint(block, *given, use_reentrant=False) if again else block(*given))
    if not found:
        return keys.new_zeros(len(keys), 0)
    return torch.cat(found)[torch.argsort(order)].T


def _last(mask: Tensor) -> Tensor:
    """The length (rows,) that holds all real positions of each row."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * places).amax(1) if mask.shape[1] else mask.new_zeros(len(mask), dtype=torch.long)


def _blocks(lengths: list[int], regions: int, cells: int) -> Iterator[tuple[slice, int]]:
    """Slices of captions, given their lengths in rising order, and the length of each slice's longest caption."""
    begin = 0
    while begin < len(lengths):
        end = begin + 1
        while end < len(lengths) and (end + 1 - begin) * lengths[end] * regions <= cells:
            end += 1
        yield slice(begin, end), max(lengths[end - 1], 1)
        begin = end
