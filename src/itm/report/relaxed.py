"""Pairs that a ditm method relaxes, and the true ones among them: its rule on the evaluated split, without a model.

Training applies the same rule to the pairs of its batches (`itm diagnose` shows those).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.losses import DitmParameters
from itm.config.methods import MethodParameters
from itm.data.layout import IMAGES
from itm.data.tables import read_columns, read_keywords, read_scored
from itm.metrics.calibration import threshold_curve
from itm.report.dataset import Dataset
from itm.report.plots import Series
from itm.text.controls import caption_descriptiveness, image_descriptiveness
from itm.text.relaxation import containment, keyword_union, relaxes, strength

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
MOST_IMAGES = 1000
"""More images than these are not looked at: pairs grow with their square."""
WHY = {
    "true": "relaxed, and true",
    "false": "relaxed, but not true",
    "missed": "true, but not relaxed",
    "unknown": "relaxed",
}


@dataclass(frozen=True)
class Rule:
    """What is known of all pairs (images, captions). gate: share of the caption's keywords that the image's captions
    hold. strength: how far a pair is relaxed, 0..1; chance: how often it is relaxed at all. Both are means over the
    image's captions, each of which may be the one it is paired with in a batch."""

    gate: Floats
    strength: Floats
    chance: Floats


@dataclass(frozen=True)
class Pair:
    """An unlabelled pair to look at; `image` and `caption` are rows of the data set."""

    image: int
    caption: int
    gate: float
    strength: float


@dataclass(frozen=True)
class Level:
    """The unlabelled pairs whose caption has one true level (0: all levels). relaxed, true: shares of the pairs;
    precision: of the relaxed pairs, those that are true; recall: of the true ones, those that are relaxed."""

    level: int
    pairs: int
    relaxed: float
    true: float | None = None
    precision: float | None = None
    recall: float | None = None


@dataclass(frozen=True)
class Relaxed:
    """What one method relaxes: all pairs first, then level by level; examples by kind (see `WHY`)."""

    method: str
    levels: list[Level]
    average_precision: float | None
    curve: Series | None
    examples: Mapping[str, list[Pair]]


def relaxed_pairs(data: Dataset, scored: Path, methods: Mapping[str, MethodParameters], examples: int) -> list[Relaxed]:
    """What each ditm method among `methods` relaxes; others, and those whose gate needs a model, are left out."""
    chosen = {
        name: options
        for name, options in ((name, method.loss) for name, method in methods.items())
        if isinstance(options, DitmParameters) and relaxes(options) and options.gate != "text_cosine"
    }
    if not chosen:
        return []
    part = _Part(data, scored)
    return [_measure(name, part, rule(options, part), examples) for name, options in chosen.items()]


class _Part:
    """The split's first images, their captions, and what the score stage says of these."""

    def __init__(self, data: Dataset, scored: Path) -> None:
        rows = data.tables.captions["row"]
        words = read_scored(data.tables.clean, scored, ("words",))["words"]
        self.data = data
        self.images = min(len(data.image_ids), MOST_IMAGES)
        self.captions = np.flatnonzero(data.captions.owner < self.images)
        self.owner = data.captions.owner[self.captions]
        self.keywords = read_keywords(scored, len(words))[rows[self.captions]]
        self.normalised = data.captions.normalised.astype(np.float64)
        self.words = words[rows].astype(np.float64)
        self.content = _contents(data)[: self.images]


def _contents(data: Dataset) -> NDArray[np.intp]:
    """Equal numbers for images of the split that are the same file."""
    hashes = dict(zip(*read_columns(data.tables.clean / IMAGES, ("image_id", "sha256")).values(), strict=True))
    return np.unique([hashes[image] for image in data.image_ids], return_inverse=True)[1]


def rule(options: DitmParameters, part: Any) -> Rule:
    """The refinement that `options` ask for, for all pairs of the part."""
    gate = np.ones((part.images, len(part.captions)), np.float32)
    if options.gate == "containment":
        gate = containment(part.keywords, keyword_union(part.keywords, part.owner, part.images))
    # the controls permute and rank all captions of the split, as in training (seed 0)
    descriptiveness = caption_descriptiveness(options.score, part.normalised, part.words, 0)[part.captions]
    far, chance = np.zeros_like(gate), np.zeros_like(gate)
    if options.image_score == "paired":
        draws = paired_descriptiveness(descriptiveness, part.owner, part.images)
    else:
        draws = [image_descriptiveness(options.image_score, descriptiveness, part.owner, part.images)]
    for of_images in draws:
        each = strength(options, gate, descriptiveness.astype(np.float32), of_images.astype(np.float32))
        far += each
        # of negatives that may be left out, the strength is the chance
        chance += each if options.refinement == "negative_sampling" else each > 0
    share = np.float32(1 / len(draws))
    return Rule(gate, far * share, chance * share)


def paired_descriptiveness(
    descriptiveness: NDArray[np.float64], owner: NDArray[np.intp], images: int
) -> list[NDArray[np.float64]]:
    """dn of the images (images,), once for each of the captions that may be the one that is drawn.

    An image with fewer captions than another takes them in turn, as often as it takes.
    """
    count = np.maximum(np.bincount(owner, minlength=images), 1)
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], np.arange(images))
    place = np.minimum(first, len(order) - 1)
    return [descriptiveness[order[place + turn % count]] for turn in range(int(count.max()))]


def _measure(method: str, part: _Part, found: Rule, examples: int) -> Relaxed:
    data = part.data
    unlabelled = part.content[:, None] != part.content[part.owner][None, :]
    true = None if data.tables.truth is None else data.tables.truth[: part.images][:, part.captions] & unlabelled
    level = data.captions.level[part.captions]
    known = sorted({int(each) for each in level if each > 0})
    columns = [(0, np.ones(len(level), bool)), *((each, level == each) for each in known if len(known) > 1)]
    levels = [_level(each, column, unlabelled, found.chance, true) for each, column in columns]
    average, curve = None, None
    if true is not None and true.any():
        swept = threshold_curve(found.strength[unlabelled], true[unlabelled])
        average = swept.average_precision
        above = swept.threshold > 0  # at 0 every pair is accepted: no statement of the rule
        recall, precision = swept.recall[above], swept.precision[above]
        if len(recall):
            shown = np.unique(np.searchsorted(recall, np.linspace(0.05, recall[-1], 20) - 1e-12))
            curve = Series(f"{method}'s rule: captions only", recall[shown].tolist(), precision[shown].tolist())
    return Relaxed(method, levels, average, curve, _examples(part, found, unlabelled, true, examples))


def _level(level: int, column: Bools, unlabelled: Bools, chance: Floats, true: Bools | None) -> Level:
    pairs = int(unlabelled[:, column].sum())
    relaxed = float(np.sum(chance[:, column], where=unlabelled[:, column], dtype=np.float64))
    share = relaxed / max(pairs, 1)
    if true is None:
        return Level(level, pairs, share)
    right = float(np.sum(chance[:, column], where=true[:, column], dtype=np.float64))
    count = int(true[:, column].sum())
    return Level(level, pairs, share, count / max(pairs, 1), right / max(relaxed, 1e-12), right / max(count, 1))


def _examples(part: _Part, found: Rule, unlabelled: Bools, true: Bools | None, count: int) -> Mapping[str, list[Pair]]:
    """Up to `count` pairs of each kind: the most relaxed, or of those not relaxed the nearest to it."""
    relaxed = (found.chance > 0) & unlabelled
    kinds = (
        {"unknown": (relaxed, found.strength)}
        if true is None
        else {
            "true": (relaxed & true, found.strength),
            "false": (relaxed & ~true, found.strength),
            "missed": (true & ~relaxed, found.gate),
        }
    )
    wordings = np.unique(np.array(part.data.captions.texts, dtype=object), return_inverse=True)[1][part.captions]
    chosen = {kind: _spread(mask, value, wordings, count) for kind, (mask, value) in kinds.items()}
    return {
        kind: [
            Pair(image, int(part.captions[place]), float(found.gate[image, place]), float(found.strength[image, place]))
            for image, place in places
        ]
        for kind, places in chosen.items()
        if places
    }


def _spread(mask: Bools, value: Floats, wordings: NDArray[np.intp], count: int) -> list[tuple[int, int]]:
    """Places of pairs with the largest values, no image and no wording twice; equal ones are taken from all over."""
    chosen: list[tuple[int, int]] = []
    open_images, open_texts = np.ones(len(mask), bool), np.ones(mask.shape[1], bool)
    for turn in range(count):
        candidates = np.where(mask & open_images[:, None] & open_texts[None, :], value, -1)
        top = candidates.max(initial=-1)
        if top < 0:
            break
        images, texts = np.nonzero(candidates == top)
        pick = turn * len(images) // count
        chosen.append((int(images[pick]), int(texts[pick])))
        open_images[chosen[-1][0]] = False
        open_texts[wordings == wordings[chosen[-1][1]]] = False
    return chosen
