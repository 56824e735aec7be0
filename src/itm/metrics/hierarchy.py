"""Traversals of the text space from generic to specific (HierarCaps), and how well they follow a chain.

A chain is a sequence of texts about one image, level 1 the most generic. A traversal retrieves one text
at each of its steps, generic end first. Texts are distinct strings, numbered in order of first appearance
(row by row, level 1 up): among equally similar texts the lowest number is retrieved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.positives import Positives
from itm.metrics.scorer import DotProduct, check_embeddings

Doubles = NDArray[np.float64]
STEPS = 50  # the number of levels changes precision strongly: 50 is part of the published metric
_PAIRS = 2**22  # similarities held at once: 32 MB


def radius_levels(images: ArrayLike, texts: ArrayLike, root: ArrayLike, levels: int = STEPS) -> NDArray[np.int64]:
    """[images, levels] texts that the official HierarCaps evaluation retrieves, generic end first.

    A text's radius is its Euclidean distance from the root, the embedding of the empty caption. Of
    `levels` radii, evenly spaced from the smallest to the largest, each admits the texts whose radius is
    not larger; among them the one most similar to the image is retrieved (Alper and Averbuch-Elor 2024).
    Runs in linear time: the texts are sorted by radius once and a running best is read at each level.

    Args:
        images: [images, D] float, of unit length in the published protocol, as are all others.
        texts: [texts, D] float, distinct strings.
        root: [D] float.
        levels: radii of the traversal.

    Raises:
        MetricError: shapes do not fit, a value is not finite, or there are fewer than two levels.

    >>> radius_levels([[0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [1.0, 0.0], levels=4)
    array([[0, 0, 1, 2]])
    """
    image, text, origin = _checked(images, texts, root, levels)
    radius = radii(text, origin)
    admitted = np.linspace(radius.min(), radius.max(), levels)
    # the level that first admits each text; texts of one level keep their numbers' order
    entry = np.searchsorted(admitted, radius, side="left")
    order = np.argsort(entry, kind="stable")
    cut = np.searchsorted(entry[order], np.arange(levels + 1))
    scorer = DotProduct(image, text[order])
    retrieved = np.empty((len(image), levels), dtype=np.int64)
    step = max(1, _PAIRS // len(text))
    for top in range(0, len(image), step):
        part = slice(top, top + step)
        scores = scorer.block(part, slice(0, len(text)), np.float64)
        rows = np.arange(len(scores))
        best, chosen = np.full(len(scores), -np.inf), np.zeros(len(scores), dtype=np.int64)
        for level in range(levels):
            if cut[level] < cut[level + 1]:
                place = cut[level] + np.argmax(scores[:, cut[level] : cut[level + 1]], axis=1)
                score, number = scores[rows, place], order[place]
                better = (score > best) | ((score == best) & (number < chosen))
                best, chosen = np.where(better, score, best), np.where(better, number, chosen)
            retrieved[part, level] = chosen
    return retrieved


def interpolation(images: ArrayLike, texts: ArrayLike, root: ArrayLike, steps: int = STEPS) -> NDArray[np.int64]:
    """[images, steps] texts along the straight line from the root to the text most similar to the image.

    ProLIP's protocol (arXiv 2410.18857): start s = the most similar text, queries q_i = s - (i / steps)(s - root)
    for i = 0 .. steps-1 retrieve their most similar text each. Scaling q_i to unit length does not change
    which text that is, and its scores are a mix of s.t and root.t: no query is ever embedded.

    Returns the generic end (i = steps-1) first; the root itself is not reached. Arguments and errors as
    `radius_levels`.

    >>> interpolation([[0.0, 1.0]], [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [1.0, 0.0], steps=4)
    array([[0, 1, 1, 2]])
    """
    image, text, origin = _checked(images, texts, root, steps)
    every = slice(0, len(text))
    nearest = np.argmax(DotProduct(image, text).block(slice(0, len(image)), every, np.float64), axis=1)
    starts, back = np.unique(nearest, return_inverse=True)
    scorer = DotProduct(text[starts], text)
    from_root = text @ origin
    share = np.arange(steps)[::-1] / steps
    found = np.empty((len(starts), steps), dtype=np.int64)
    step = max(1, _PAIRS // len(text))
    for top in range(0, len(starts), step):
        from_start = scorer.block(slice(top, top + step), every, np.float64).astype(np.float64, copy=False)
        for row, candidates in enumerate(_upper_lines(from_start, from_root, share[0])):
            near, far = from_start[row, candidates], from_root[candidates]
            mixed = near + share[:, None] * (far - near)
            found[top + row] = candidates[np.argmax(mixed, axis=1)]
    return found[back]


def _upper_lines(near: Doubles, far: Doubles, reach: float) -> Iterator[NDArray[np.int64]]:
    """For each row, the few texts whose line near + share (far - near) can be the highest for a share in 0..reach.

    Let w0 and w1 be the highest lines at both ends. A line that is not above w0 at 0 nor above w1 at reach, but
    highest in between, is at least as high as both where w0 and w1 cross: one look there finds all candidates.
    """
    rows = np.arange(len(near))
    first, last = np.argmax(near, axis=1), np.argmax(near + reach * (far - near), axis=1)
    fall, rise = near[rows, first] - near[rows, last], far[last] - far[first]
    crossing = np.where(fall + rise > 0, fall / np.where(fall + rise > 0, fall + rise, 1), reach)
    crossing = np.clip(crossing, 0, reach)[:, None]
    height = near + crossing * (far - near)
    scale = np.abs(near).max(axis=1) + np.abs(far).max()
    least = np.maximum(height[rows, first], height[rows, last]) - 1e-12 * scale  # ties and rounding stay in
    for row in rows:
        yield np.union1d(np.flatnonzero(height[row] >= least[row]), (first[row], last[row]))


@dataclass(frozen=True, eq=False)
class ChainScores:
    """How well each image's traversal meets its chain, [images] float64 in 0..1.

    precision: distinct retrieved texts that belong to the chain, of all distinct retrieved texts.
    recall: levels of the chain that are retrieved anywhere.
    ordered_recall: levels that are retrieved in the chain's order, see `chain_scores`.
    any_recall: 1 if any text of the chain is retrieved.
    """

    precision: Doubles
    recall: Doubles
    ordered_recall: Doubles
    any_recall: Doubles


def chain_scores(retrieved: NDArray[np.int64], chains: ArrayLike, owners: ArrayLike) -> ChainScores:
    """Precision, recall and order-aware recall of traversals against reference chains.

    Order-aware recall is the length of the longest common subsequence of the traversal and the chain,
    divided by the chain's length: a level counts only where it is met after the more generic ones that
    count. It is at most the recall, and equal to it when the traversal meets the levels in order. A model
    that retrieves the right texts in the reverse order has recall 1 and order-aware recall 1/4.

    Args:
        retrieved: [images, steps] int text numbers, generic end first.
        chains: [rows, levels] int text numbers, level 1 first.
        owners: [rows] int image of each row; an image with several rows accepts any row's text at a level.

    Raises:
        MetricError: an image has no chain, or shapes do not fit.

    >>> scores = chain_scores(np.array([[7, 5, 5, 9]]), [[5, 6, 7, 9]], [0])
    >>> [float(v[0]) for v in (scores.precision, scores.recall, scores.ordered_recall)]
    [1.0, 0.75, 0.5]
    """
    chain, owner = np.asarray(chains, dtype=np.int64), np.asarray(owners, dtype=np.int64)
    if chain.ndim != 2 or owner.shape != (len(chain),):
        raise MetricError(f"chains {chain.shape} and owners {owner.shape} do not fit; one owner a row", reason="shape")
    images, levels = len(retrieved), chain.shape[1]
    without = np.setdiff1d(np.arange(images), owner)
    if len(without):
        raise MetricError(f"{len(without)} of {images} images have no chain", reason="no-chain")
    texts = int(max(chain.max(), retrieved.max())) + 1
    key = owner[:, None] * levels + np.arange(levels)
    references = Positives.from_pairs(key, chain, (images * levels, texts))
    asked = np.arange(images)[:, None, None] * levels + np.arange(levels)
    met = references.contains(asked, retrieved[:, :, None])  # [images, steps, levels]
    ordered = np.sort(retrieved, axis=1)
    distinct = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    repeated = np.concatenate((np.zeros((images, 1), dtype=bool), ordered[:, 1:] == ordered[:, :-1]), axis=1)
    right = references.contains(asked, ordered[:, :, None]).any(axis=2) & ~repeated
    recall = met.any(axis=1).mean(axis=1)
    return ChainScores(right.sum(axis=1) / distinct, recall, _common(met) / levels, (recall > 0).astype(np.float64))


def _common(met: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[images] length of the longest common subsequence, from [images, steps, levels] matches."""
    images, steps, levels = met.shape
    before = np.zeros((images, levels + 1), dtype=np.int64)
    for step in range(steps):
        now = before.copy()
        for level in range(levels):
            longer = before[:, level] + met[:, step, level]
            now[:, level + 1] = np.maximum(np.maximum(before[:, level + 1], now[:, level]), longer)
        before = now
    return before[:, levels]


def radii(texts: ArrayLike, root: ArrayLike) -> Doubles:
    """[texts] Euclidean distances of texts from the root.

    >>> radii([[3.0, 4.0]], [0.0, 0.0]).tolist()
    [5.0]
    """
    distance: Doubles = np.sqrt(((np.asarray(texts, np.float64) - np.asarray(root, np.float64)) ** 2).sum(axis=-1))
    return distance


def tau_d(chain_radii: ArrayLike) -> Doubles:
    """[rows] Kendall's tau between the radii of a chain and its levels: (concordant - discordant) / pairs, -1..1.

    Exact ties count as neither, so that a model without any order has 0. (The official code breaks them
    arbitrarily.)

    Args:
        chain_radii: [rows, levels] float, level 1 first.

    Raises:
        MetricError: fewer than two levels.

    >>> tau_d([[0.1, 0.2, 0.4, 0.3]]).round(4).tolist()
    [0.6667]
    """
    radius = np.asarray(chain_radii, dtype=np.float64)
    if radius.ndim != 2 or radius.shape[1] < 2:
        raise MetricError(f"radii have shape {radius.shape}; expected [rows, two or more levels]", reason="shape")
    lower, upper = np.triu_indices(radius.shape[1], 1)
    tau: Doubles = np.sign(radius[:, upper] - radius[:, lower]).mean(axis=1)
    return tau


def _checked(images: ArrayLike, texts: ArrayLike, root: ArrayLike, steps: int) -> tuple[Doubles, Doubles, Doubles]:
    image, text = check_embeddings(images, "image embeddings"), check_embeddings(texts, "text embeddings")
    origin = check_embeddings(np.asarray(root)[None], "root embedding")[0]
    if not image.shape[1] == text.shape[1] == len(origin):
        raise MetricError(
            f"embeddings differ in dimension: images {image.shape[1]}, texts {text.shape[1]}, root {len(origin)}",
            reason="dimension",
        )
    if steps < 2:
        raise MetricError(f"a traversal needs two or more steps, not {steps}", reason="steps")
    if not len(text) or not len(image):
        raise MetricError(f"{len(image)} images and {len(text)} texts: nothing to traverse", reason="empty")
    return image.astype(np.float64), text.astype(np.float64), origin.astype(np.float64)
