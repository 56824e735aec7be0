"""The effect of a refinement on the pairs of a split's batches, and its precision where the truth is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm.config.losses import DitmParameters
from itm.diagnosis.truth import Truth
from itm.errors import ConfigError
from itm.methods.losses.ditm.relaxation import Evidence, Refinement, evidence, refine
from itm.methods.method import Requirements
from itm.metrics.calibration import threshold_curve
from itm.text.relaxation import strength
from itm.training.batches import BatchRows, Sampler
from itm.training.dataset import Described

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pair:
    """One unlabelled pair. relevance, margin, weight: what the refinement made of it, None where it has no such
    thing. true: whether the caption is true of the image, None where that is not known."""

    image_id: str
    image_caption: str
    caption_id: int
    caption: str
    difference: float
    gate: float
    relevance: float | None
    margin: float | None
    weight: float | None
    relaxed: bool
    true: bool | None


@dataclass
class Diagnosis:
    """Counts over the unlabelled pairs of the batches; `true` and what follows from it only with a known truth.

    levels: by the true level of the caption, the same counts. average_precision: of how far pairs are relaxed, as a
    ranking of all unlabelled pairs; unlike precision and recall it does not depend on a threshold.
    """

    method: str
    split: str
    batches: int = 0
    pairs: int = 0
    relaxed: int = 0
    true: int | None = None
    relaxed_true: int | None = None
    average_precision: float | None = None
    levels: dict[int, dict[str, int]] = field(default_factory=dict)
    examples: list[Pair] = field(default_factory=list)

    @property
    def precision(self) -> float | None:
        """The share of relaxed pairs that are true."""
        return None if self.relaxed_true is None else self.relaxed_true / max(self.relaxed, 1)

    @property
    def recall(self) -> float | None:
        """The share of true but unlabelled pairs that are relaxed."""
        return None if self.relaxed_true is None or self.true is None else self.relaxed_true / max(self.true, 1)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the shares beside the counts."""
        shares = {"relaxed_share": self.relaxed / max(self.pairs, 1), "precision": self.precision}
        return {**asdict(self), **shares, "recall": self.recall, "levels": {str(k): v for k, v in self.levels.items()}}


def diagnose(
    name: str,
    options: DitmParameters,
    split: str,
    data: Described,
    truth: Truth | None,
    *,
    batch_images: int,
    captions_per_image: int,
    seed: int,
    epochs: int = 1,
    keep: int = 200,
) -> Diagnosis:
    """The refinement of all batches of `epochs` epochs, as training with this seed would meet them.

    Nothing is trained: the refinements go by captions only. Of each kind of pair (relaxed and true, relaxed and
    false, true and not relaxed) up to `keep` examples are kept, spread over batches, images and captions; the most
    relaxed pairs come first.

    Raises:
        ConfigError: the gate or the refinement needs a model (text_cosine), or nothing is refined.
    """
    if options.gate == "text_cosine" or options.refinement == "none":
        needs = "its gate compares embeddings" if options.gate == "text_cosine" else "its refinement is 'none'"
        raise ConfigError(f"method.{name}: there is nothing to diagnose without training; {needs}", reason="no-pairs")
    sampler = Sampler(data.relations.owner, min(batch_images, len(data.images)), captions_per_image, seed)
    result = Diagnosis(name, split)
    kept: dict[str, list[Pair]] = {"relaxed true": [], "relaxed": [], "missed": []}
    strengths, truths = [], []
    requires = Requirements(containment=options.gate == "containment")
    levels = data.captions["level"].to_numpy()
    wordings, _ = pd.factorize(data.captions["text"])
    share = -(-keep // (epochs * sampler.steps()))
    for epoch in range(epochs):
        for rows in sampler.epoch(epoch):
            labels = data.relations.labels(rows, requires, torch.device("cpu"))
            found = evidence(options, labels, None)
            refinement = refine(options, labels, found, result.batches)
            assert refinement.relaxed is not None
            unlabelled = (~labels.positives).numpy()
            relaxed = refinement.relaxed.numpy() & unlabelled
            true = None if truth is None else truth.of(rows.images, rows.captions) & unlabelled
            dn, image_dn = labels.descriptiveness, labels.image_descriptiveness
            far = np.asarray(strength(options, found.gate, dn, image_dn), np.float32)
            result.batches += 1
            _count(result, unlabelled, relaxed, true, levels[rows.captions])
            if true is not None:
                strengths.append(far[unlabelled])
                truths.append(true[unlabelled])
            kinds = (
                {"relaxed": relaxed}
                if true is None
                else {"relaxed true": relaxed & true, "relaxed": relaxed & ~true, "missed": true & ~relaxed}
            )
            for kind, mask in kinds.items():
                room = min(share, keep - len(kept[kind]))
                places = _spread(mask, far, wordings[rows.captions], room)
                kept[kind] += [_pair(data, rows, place, found, refinement, relaxed, true) for place in places]
    result.examples = [pair for pairs in kept.values() for pair in pairs]
    if truths and np.concatenate(truths).any():
        curve = threshold_curve(np.concatenate(strengths), np.concatenate(truths))
        result.average_precision = float(curve.average_precision)
    return result


def _count(result: Diagnosis, unlabelled: Array, relaxed: Array, true: Array | None, levels: Array) -> None:
    result.pairs += int(unlabelled.sum())
    result.relaxed += int(relaxed.sum())
    if true is not None:
        result.true = (result.true or 0) + int(true.sum())
        result.relaxed_true = (result.relaxed_true or 0) + int((relaxed & true).sum())
    for level in np.unique(levels[levels > 0]):
        columns = levels == level
        own = result.levels.setdefault(int(level), {"pairs": 0, "relaxed": 0})
        own["pairs"] += int(unlabelled[:, columns].sum())
        own["relaxed"] += int(relaxed[:, columns].sum())
        if true is not None:
            own["true"] = own.get("true", 0) + int(true[:, columns].sum())
            own["relaxed_true"] = own.get("relaxed_true", 0) + int((relaxed & true)[:, columns].sum())


def _spread(mask: Array, strength: Array, wordings: Array, count: int) -> list[tuple[int, int]]:
    """The places of `count` pairs, most relaxed first, but no image and no wording twice before all have come once."""
    images, texts = np.nonzero(mask)
    order = np.argsort(-strength[images, texts], kind="stable")
    images, texts = images[order], texts[order]
    repeated = sum(pd.Series(ids).groupby(ids).cumcount().to_numpy() for ids in (images, wordings[texts]))
    chosen = np.argsort(repeated, kind="stable")[: max(count, 0)]
    return [(int(images[place]), int(texts[place])) for place in chosen]


def _pair(
    data: Described,
    rows: BatchRows,
    place: tuple[int, int],
    found: Evidence,
    refinement: Refinement,
    relaxed: Array,
    true: Array | None,
) -> Pair:
    image, text = place
    caption = data.captions.iloc[int(rows.captions[text])]
    paired = data.captions.iloc[int(rows.captions[np.flatnonzero(rows.owner == image)[0]])]

    def value(matrix: torch.Tensor | None) -> float | None:
        return None if matrix is None else round(matrix[image, text].item(), 4)

    return Pair(
        image_id=str(data.images["image_id"].iloc[int(rows.images[image])]),
        image_caption=str(paired["text"]),
        caption_id=int(caption["caption_id"]),
        caption=str(caption["text"]),
        difference=round(found.difference[image, text].item(), 4),
        gate=round(found.gate[image, text].item(), 4),
        relevance=value(refinement.relevance),
        margin=value(refinement.margin),
        weight=value(refinement.weight),
        relaxed=bool(relaxed[image, text]),
        true=None if true is None else bool(true[image, text]),
    )
