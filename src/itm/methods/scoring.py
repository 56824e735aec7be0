"""Similarities of all pairs by a method that must see each pair: in blocks of bounded memory, or of a shortlist only.

A shortlist holds, for each image and each text, the candidates of largest inner product of the stand-in vectors. What
is not on it keeps the order of these products, below everything that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itm.methods.method import Embedded, Method

Floats = np.ndarray[Any, np.dtype[np.float32]]

BLOCK_BYTES = 128 * 2**20
"""Memory of one block of fragment scores; attention needs a few times as much for a moment."""


@dataclass
class Similarities:
    """Similarities (images, texts) float32. scored: which of them are exact, None = all. pairs: how many were computed.
    multiply_adds: what one of them took, on average."""

    values: Floats
    scored: np.ndarray[Any, np.dtype[np.bool_]] | None
    pairs: int
    multiply_adds: float


@torch.no_grad()
def all_similarities(
    method: Method,
    images: Sequence[Embedded],
    texts: Sequence[Embedded],
    progress: Callable[[int, int], None] | None = None,
) -> Similarities:
    """The similarity of every image (rows, over all batches) with every text; only the result is ever stored whole.

    `progress` is told how many texts are done, of how many.
    """
    counts = [len(each.embedding) for each in images], [len(each.embedding) for each in texts]
    found = np.empty((sum(counts[0]), sum(counts[1])), np.float32)
    column, work = 0, 0.0
    for text_batch, width in zip(texts, counts[1], strict=True):
        row = 0
        for image_batch, height in zip(images, counts[0], strict=True):
            for part in _parts(image_batch, text_batch, height):
                some = image_batch.rows(part)
                size = len(some.embedding)
                similarities = method.score(some, text_batch)
                found[row : row + size, column : column + width] = similarities.float().cpu().numpy()
                work += method.similarity.multiply_adds(some, text_batch) * size * width
                row += size
        column += width
        if progress:
            progress(column, found.shape[1])
    return Similarities(found, None, found.size, work / max(found.size, 1))


@torch.no_grad()
def shortlist_similarities(
    method: Method,
    images: Sequence[Embedded],
    texts: Sequence[Embedded],
    candidates: int,
    progress: Callable[[int, int], None] | None = None,
) -> Similarities:
    """Exact similarities of each query's `candidates` best by inner product, in both directions."""
    stands = [
        torch.cat([method.index_image(each) for each in images]),
        torch.cat([method.index_text(e) for e in texts]),
    ]
    proxy = (stands[0] @ stands[1].T).float()
    scored = torch.zeros(proxy.shape, dtype=torch.bool, device=proxy.device)
    scored.scatter_(1, proxy.topk(min(candidates, proxy.shape[1]), dim=1).indices, True)
    scored.scatter_(0, proxy.topk(min(candidates, proxy.shape[0]), dim=0).indices, True)
    values = torch.full_like(proxy, -torch.inf)
    gallery = _Gallery(images)
    column, work, pairs = 0, 0.0, 0
    for batch in texts:
        for place in range(len(batch.embedding)):
            rows = scored[:, column].nonzero().squeeze(1)
            some, one = gallery.rows(rows), batch.rows(slice(place, place + 1))
            values[rows, column] = method.score(some, one)[:, 0].float()
            work += method.similarity.multiply_adds(some, one) * len(rows)
            pairs += len(rows)
            column += 1
        if progress:
            progress(column, proxy.shape[1])
    # everything that was not scored comes after what was, in the order of the stand-ins
    worst = values[scored].min() - 1
    values = torch.where(scored, values, worst - (proxy.max() - proxy))
    return Similarities(values.cpu().numpy(), scored.cpu().numpy(), pairs, work / max(pairs, 1))


class _Gallery:
    """Rows of several batches by their place in the whole."""

    def __init__(self, batches: Sequence[Embedded]) -> None:
        self.batches = batches
        self.first = np.cumsum([0, *(len(each.embedding) for each in batches)])

    def rows(self, places: Tensor) -> Embedded:
        if len(self.batches) == 1:
            return self.batches[0].rows(places)
        found = np.searchsorted(self.first, places.cpu().numpy(), side="right") - 1
        return concatenate(
            [self.batches[b].rows(places[torch.from_numpy(found == b)] - int(self.first[b])) for b in np.unique(found)]
        )


def _parts(images: Embedded, texts: Embedded, height: int) -> list[slice]:
    """Cuts of an image batch whose fragment scores with a text batch stay within the block's memory."""
    if images.tokens is None or texts.tokens is None:
        return [slice(0, height)]
    fragments = images.tokens.shape[1] * texts.tokens.shape[0] * texts.tokens.shape[1]
    step = max(1, int(BLOCK_BYTES // (4 * fragments)))
    return [slice(start, start + step) for start in range(0, height, step)]


def concatenate(parts: Sequence[Embedded]) -> Embedded:
    """The rows of all parts as one; shorter token sequences are padded."""
    if len(parts) == 1:
        return parts[0]
    embedding = torch.cat([part.embedding for part in parts])
    extra = {name: torch.cat([part.extra[name] for part in parts]) for name in parts[0].extra}
    tokens = [part.tokens for part in parts if part.tokens is not None]
    masks = [part.mask for part in parts if part.mask is not None]
    if not tokens:
        return Embedded(embedding, extra=extra)
    longest = max(each.shape[1] for each in tokens)

    def padded(values: Tensor) -> Tensor:
        below = [0, 0] * (values.ndim - 2)
        return nn.functional.pad(values, [*below, 0, longest - values.shape[1]])

    return Embedded(
        embedding,
        torch.cat([padded(each) for each in tokens]),
        torch.cat([padded(each) for each in masks]) if masks else None,
        extra,
    )
