"""The metrics of the score stage: descriptiveness and its controls against what is known of the captions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow.compute as pc

from itm.data.files import read_arrow
from itm.data.layout import HIERARCHIES, RATINGS
from itm.text.controls import CONTROLS, control_values
from itm.text.corpus import Corpus, Scored, score_counts
from itm.text.counts import count_words
from itm.text.descriptiveness import Descriptiveness
from itm.text.tables import codes
from itm.text.validity import group_means, group_order, spearman, variance_within

SPLITS = ("dev", "test")
"""Splits that are measured: choose options on dev, report test."""

Metrics = dict[str, Any]


def measure(corpus: Corpus, scored: Scored, digits: int = 4) -> Metrics:
    """What is written to results/score.json.

    For descriptiveness (of `score.kind`) and each control and split: ``level_tau`` and ``level_strict`` (order of an
    image's captions against their true levels), ``multiplicity_spearman`` (against the true number of images that the
    caption fits: a good one is near -1), ``crowdflower_spearman`` (against the mean share of yes votes for
    other images: the more generic, the more votes), ``variance_within`` (share of the variance that lies
    within images); and over the HierarCaps-like chains ``chain_tau`` and ``chain_strict``. What a data set
    does not know is left out. Beside them, facts about the corpus and the normalisation. Numbers are rounded
    to `digits` decimals, so that another machine's last bit does not change a file that git keeps.
    """
    yes = yes_share(corpus)
    chains = _chains(corpus, scored)
    found: Metrics = {}
    kind = scored.idf.parameters.kind
    for name in (kind, *CONTROLS):
        values = _values(name, scored.captions, corpus.splits)
        found[name] = {split: _split_metrics(corpus, values, corpus.splits == split, yes) for split in SPLITS}
        if chains is not None:
            texts, levels, groups = chains
            order = group_order(_values(name, texts, np.zeros(len(levels))), levels, groups)
            found[name]["chains"] = {"chain_tau": order.tau, "chain_strict": order.strict}
    return {"scores": _tidy(found, digits), "corpus": _tidy(_facts(corpus, scored), digits)}


def _values(name: str, captions: Descriptiveness, splits: np.ndarray) -> np.ndarray:
    if name in CONTROLS:
        return control_values(name, captions.descriptiveness, captions.words, splits)
    return captions.descriptiveness


def _split_metrics(corpus: Corpus, values: np.ndarray, rows: np.ndarray, yes: dict[int, float]) -> Metrics:
    metrics: Metrics = {"variance_within": variance_within(values[rows], corpus.images[rows])}
    known = rows & (corpus.levels > 0)
    if known.any():
        order = group_order(values[known], corpus.levels[known], corpus.images[known])
        metrics |= {"level_tau": order.tau, "level_strict": order.strict}
    known = rows & (corpus.multiplicity >= 0)
    if known.any():
        metrics["multiplicity_spearman"] = spearman(values[known], corpus.multiplicity[known])
    voted = np.flatnonzero(rows & np.isin(corpus.caption_ids, np.fromiter(yes, dtype=np.int64)))
    if len(voted):
        shares = np.array([yes[int(caption)] for caption in corpus.caption_ids[voted]])
        metrics["crowdflower_spearman"] = spearman(values[voted], shares)
    return metrics


def yes_share(corpus: Corpus) -> dict[int, float]:
    """Mean share of CrowdFlower's yes votes for each rated caption, over images that are not its own."""
    path = corpus.folder / RATINGS
    if not path.exists():
        return {}
    table = read_arrow(path, ["kind", "caption_id_1", "image_id_1", "score"])
    table = table.filter(pc.equal(table["kind"], "crowdflower"))
    if not len(table):
        return {}
    captions = table["caption_id_1"].to_numpy().astype(np.int64)
    images = np.array(table["image_id_1"].to_pylist(), dtype=object)
    own = read_arrow(corpus.folder / "captions.parquet", ["caption_id", "image_id"])
    owner = dict(zip(own["caption_id"].to_pylist(), own["image_id"].to_pylist(), strict=True))
    other = np.array([owner.get(int(c)) != i for c, i in zip(captions, images, strict=True)], dtype=bool)
    names, means = group_means(table["score"].to_numpy()[other], captions[other])
    return dict(zip(names.tolist(), means.tolist(), strict=True))


def _chains(corpus: Corpus, scored: Scored) -> tuple[Descriptiveness, np.ndarray, np.ndarray] | None:
    """Descriptiveness of the texts, levels and chains (one an image) of the hierarchies; None where there are none."""
    path = corpus.folder / HIERARCHIES
    if not path.exists():
        return None
    table = read_arrow(path, ["image_id", "level", "text"])
    if not len(table):
        return None
    counts = count_words(table["text"], f"{path}, column text")
    return score_counts(counts, corpus, scored.idf), table["level"].to_numpy(), codes(table["image_id"])[0]


def _facts(corpus: Corpus, scored: Scored) -> Metrics:
    d = scored.captions.descriptiveness[corpus.training]
    frequency = scored.idf.document_frequency
    return {
        "training_captions": len(d),
        "documents": scored.idf.documents,
        "training_words": len(frequency),
        "training_keywords": int(scored.idf.keyword.sum()),
        "words_below_minimum_frequency": int((frequency < scored.idf.parameters.minimum_document_frequency).sum()),
        "words_unseen_in_training": len(corpus.counts.words) - len(frequency),
        "captions_without_keywords": int((scored.captions.keywords == 0).sum()),
        "d_quantiles": {f"{q:g}": float(np.quantile(d, q)) for q in (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1)},
        "normalised_low": scored.normaliser.low,
        "normalised_high": scored.normaliser.high,
    }


def _tidy(values: Any, digits: int) -> Any:
    """Rounded, and without what is not a number (a correlation with a constant, say)."""
    if isinstance(values, dict):
        tidy = {key: _tidy(value, digits) for key, value in values.items()}
        return {key: value for key, value in tidy.items() if value is not None}
    if isinstance(values, float):
        return round(values, digits) if math.isfinite(values) else None
    return values
