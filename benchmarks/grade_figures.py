"""Figures of similarities and grades on a split: for grade.py and grade_photos.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itm.data.layout import DEV_EMBEDDINGS, EMBEDDINGS, IDF, IMAGES
from itm.data.tables import TRUE, read_columns
from itm.evaluation.benchmarks.cxc import Ratings, select_ratings
from itm.evaluation.benchmarks.false_negatives import order_within
from itm.evaluation.benchmarks.hierarcaps import distinct_chains
from itm.evaluation.half_truths import HalfTruths, half_truths
from itm.evaluation.tables import Tables
from itm.grading import Calibrator
from itm.grading.texts import describe
from itm.metrics import (
    Positives,
    calibration_of,
    half_truth,
    hit_ranks,
    hit_rates,
    monotonicity,
    precision_at_r,
    rsum,
    set_f1,
    spearman,
    threshold_curve,
)
from itm.text.corpus import read_corpus, score_corpus
from itm.text.tables import read_idf
from itm.vectors.pipeline import read_embeddings

Doubles = NDArray[np.float64]
Figures = dict[str, Doubles]
"""By name: one value, or one an image, caption, chain or rated pair."""
RECALL_AT = (1, 5, 10)
CHAINED = "hierarcaps"
"""The split of photos that only chains are about."""


class Split:
    """What is known of a split: owners, d, ratings and chains; of scenes also levels, truth and half-truths."""

    def __init__(self, project: Path, name: str) -> None:
        self.tables = Tables(project / "data/clean", project / "data/scored", name)
        self.name, self.file = name, DEV_EMBEDDINGS if name == "dev" else EMBEDDINGS
        self.clean = project / "data/clean"
        self.images = self.tables.images["image_id"]
        self.owners, self.d = self.tables.owners, self.tables.descriptiveness
        self.answers = Positives.from_owners(self.owners, len(self.images))
        self.idf = read_idf(project / f"data/scored/{IDF}")

    @cached_property
    def level(self) -> Doubles:
        """What captions are ordered by, generic ones first; where no level is known, d."""
        level = self.tables.captions["level"].astype(np.float64)
        return level if (level > 0).any() else self.d

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        return np.asarray(self.tables.grades == TRUE)

    @cached_property
    def true(self) -> Positives:
        """Each image's true captions; where the truth is not known, its own."""
        return Positives.from_mask(self.truth) if self.tables.has_truth else self.answers[0]

    @cached_property
    def true_images(self) -> Positives:
        return Positives.from_mask(self.truth.T) if self.tables.has_truth else self.answers[1]

    @cached_property
    def half(self) -> HalfTruths:
        return half_truths(self.tables.texts, self.owners, self.truth)

    @cached_property
    def rated(self) -> Ratings:
        return select_ratings(self.tables.ratings, "sits", self.tables.captions["caption_id"], self.images)

    @cached_property
    def chains(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], Doubles]:
        """The image of each chain, its four texts, ids and d of the texts."""
        every = read_columns(self.tables.clean / IMAGES, ("image_id", "split"))
        known = every["image_id"][np.isin(every["split"].astype(str), [self.name, CHAINED])]
        image_ids, chains, text_ids = distinct_chains(self.tables.hierarchies, known)
        text = dict(zip(self.tables.hierarchies["text_id"], self.tables.hierarchies["text"], strict=True))
        return image_ids, chains, text_ids, describe([text[one] for one in text_ids], self.idf)

    @property
    def surprisal(self) -> Doubles:
        """-log of the real share of images that each caption is true of."""
        return np.asarray(-np.log(np.maximum(self.truth.mean(axis=0), 1 / len(self.images))))

    def described(self, options: dict[str, str]) -> Doubles:
        """d of the captions by a score with other options."""
        corpus = read_corpus(self.clean)
        scored = score_corpus(corpus, self.idf.parameters.model_copy(update=options))
        return np.asarray(scored.captions.descriptiveness[corpus.splits == self.name])

    @property
    def words(self) -> Doubles:
        return np.array([len(text.split()) for text in self.tables.texts], dtype=np.float64)


class Similarities(NamedTuple):
    """Similarities of a model on a split: all pairs, and images of chains with texts of chains."""

    s: Doubles
    chains: Doubles | None

    @classmethod
    def read(cls, folder: Path, split: Split, lift: float = 0.0) -> Similarities:
        """True pairs are `lift` standard deviations higher: for a small run, whose models have learnt nothing."""
        found = read_embeddings(folder, split.file)
        everything = slice(None), slice(None), np.float64
        s = found.scorer(split.images, split.tables.captions["row"]).block(*everything).astype(np.float64)
        if lift:
            s += lift * s.std() * split.truth
        if split.name == "dev":
            return cls(s, None)
        image_ids, _, text_ids, _ = split.chains
        return cls(s, found.scorer(np.unique(image_ids), text_ids).block(*everything).astype(np.float64))


@dataclass(frozen=True)
class Ranking:
    """Scores of all pairs under one rule: the similarity itself, or a grade."""

    pairs: Doubles
    chains: Doubles | None = None

    @classmethod
    def graded(cls, similarities: Similarities, split: Split, calibrator: Calibrator, specificity: float) -> Ranking:
        chains = (
            None if similarities.chains is None else calibrator.grade(similarities.chains, split.chains[3], specificity)
        )
        return cls(calibrator.grade(similarities.s, split.d, specificity), chains)


def compromise(ranking: Ranking, split: Split) -> Figures:
    """The three between which the specificity chooses: mAP@R and order by image, RSUM."""
    own = ranking.pairs[split.owners, np.arange(len(split.owners))]
    both = zip((ranking.pairs, ranking.pairs.T), split.answers, strict=True)
    rates = [hit_rates(hit_ranks(pairs, answers), RECALL_AT) for pairs, answers in both]
    return {
        "i2t": precision_at_r(ranking.pairs, split.true).map_at_r,
        "order": order_within(split.owners, own, split.level, len(split.images)),
        "rsum": np.array(rsum(*rates)),
    }


def truths(ranking: Ranking, split: Split) -> Figures:
    """What specificity 0 is for, beside mAP@R: one threshold for all pairs, and half-truths."""
    pairs, half = ranking.pairs, split.half
    found = {"ap": np.array(threshold_curve(pairs, split.truth).average_precision)}
    if len(half.images):
        right = half_truth(pairs[half.images, half.true], pairs[half.images, half.half_true])
        asked = np.bincount(half.images, minlength=len(pairs))
        share = np.bincount(half.images, right, len(pairs)) / np.maximum(asked, 1)
        found["half"] = np.where(asked > 0, share, np.nan)
    return found


def ranked(ranking: Ranking, split: Split) -> Figures:
    """All that a ranking of pairs can be asked for."""
    pairs, rated = ranking.pairs, split.rated
    found = compromise(ranking, split) | truths(ranking, split)
    found["t2i"] = precision_at_r(pairs.T, split.true_images).map_at_r
    if len(rated):
        found["rated"] = pairs[rated.second, rated.first]
    return found | chained(ranking, split)


def chained(ranking: Ranking, split: Split) -> Figures:
    """Of each image with a chain: its four texts among those of all images, and whether scores rise along them."""
    if ranking.chains is None:
        return {}
    image_ids, chains, _, _ = split.chains
    distinct, owner = np.unique(image_ids, return_inverse=True)
    image, levels = np.repeat(owner, chains.shape[1]), chains.shape[1]
    own = Positives.from_pairs(image, chains.ravel(), ranking.chains.shape)
    found = {"chain_map": precision_at_r(ranking.chains, own).map_at_r}
    rise = monotonicity(ranking.chains[image, chains.ravel()].reshape(chains.shape))
    count = np.bincount(owner, minlength=len(distinct))
    found["chain_rising"] = np.bincount(owner, rise.rising, len(distinct)) / count
    found["chain_pearson"] = np.bincount(owner, np.nan_to_num(rise.pearson), len(distinct)) / count
    for level in range(levels):
        one = Positives.from_pairs(owner, chains[:, level], ranking.chains.shape)
        found[f"chain_{level + 1}"] = (hit_ranks(ranking.chains, one).rank < RECALL_AT[-1]).astype(np.float64)
    return found


def stated(p: Doubles, split: Split) -> Figures:
    """What P(true) says, against the truth."""
    overall = calibration_of(p, split.truth)
    return {
        "ece": np.array(overall.ece),
        "brier": ((p - split.truth) ** 2).mean(axis=1),
        "f1": set_f1(p, split.truth),
        "pairs": np.array(p.sum() / split.truth.sum()),
        "counts": p.sum(axis=0),
    }


def multiplicity(counts: Doubles, split: Split) -> float:
    return spearman(counts, split.truth.sum(axis=0)) if np.ptp(counts) > 0 else float("nan")
