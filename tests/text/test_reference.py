"""Equality with scikit-learn to 1e-9 on real captions, and on a million generated ones."""

from __future__ import annotations

import csv
import functools
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from generated_captions import captions
from sklearn.feature_extraction.text import TfidfVectorizer

from itm.config.data import ScoreParameters
from itm.text.counts import count_words, document_frequencies
from itm.text.descriptiveness import descriptiveness
from itm.text.idf import STOP_WORDS, idf_table
from itm.text.validity import group_order

Options = Callable[..., ScoreParameters]

MIRROR = Path(os.environ.get("ITM_MIRROR", "no-mirror"))
mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason="needs the data mirror: set ITM_MIRROR to its folder")


def largest_difference(training: list[str], texts: list[str], parameters: ScoreParameters) -> float:
    """Between d of `texts` and scikit-learn's sum of TF-IDF, both fitted on `training`."""
    stop = sorted(STOP_WORDS) if parameters.keywords == "content" else None
    reference = TfidfVectorizer(norm=None, token_pattern="[a-z0-9]+", stop_words=stop).fit(training)
    expected = np.asarray(reference.transform(texts).sum(axis=1)).ravel()
    table = idf_table(document_frequencies(count_words(training)), parameters)
    counts = count_words(texts)
    found = descriptiveness(counts, table).descriptiveness
    # scikit-learn leaves words out that it never saw; here they count as the rarest
    idf, keyword = table.look_up(counts.words)
    unseen = keyword & (table.frequency(counts.words) == 0)
    found -= np.bincount(counts.rows, np.where(unseen, idf, 0)[counts.codes] * counts.counts, len(counts))
    return float(np.abs(found - expected).max())


@functools.cache
def flickr8k() -> dict[str, list[str]]:
    with zipfile.ZipFile(MIRROR / "flickr8k-224/Flickr8k_text.zip") as archive:
        lines = archive.read("Flickr8k.token.txt").decode().splitlines()
        splits = {
            split: set(archive.read(f"Flickr_8k.{split}Images.txt").decode().split())
            for split in ("train", "dev", "test")
        }
    pairs = [line.split("\t") for line in lines]
    return {split: [text for key, text in pairs if key.split("#")[0] in names] for split, names in splits.items()}


def hierarcaps() -> list[list[str]]:
    with (MIRROR / "hierarcaps/hierarcaps_test.csv").open(encoding="utf-8") as file:
        return [row["captions"].split(" => ") for row in csv.DictReader(file)]


@pytest.mark.parametrize("keywords", ["content", "all"])
@pytest.mark.real
@mirror
def test_flickr8k(options: Options, keywords: str) -> None:
    texts = flickr8k()
    assert {split: len(found) for split, found in texts.items()} == {"train": 30_000, "dev": 5_000, "test": 5_000}
    for split in ("train", "dev", "test"):
        assert largest_difference(texts["train"], texts[split], options(keywords=keywords)) < 1e-9


@pytest.mark.real
@mirror
def test_hierarcaps(options: Options) -> None:
    texts = [text for chain in hierarcaps() for text in chain]
    assert len(texts) == 4_000
    assert largest_difference(texts, texts, options()) < 1e-9
    assert largest_difference(flickr8k()["train"], texts, options()) < 1e-9


@pytest.mark.real
@mirror
def test_hierarcaps_chains_rise(options: Options) -> None:
    chains = hierarcaps()
    table = idf_table(document_frequencies(count_words(flickr8k()["train"])), options(minimum_document_frequency=5))
    found = descriptiveness(count_words([text for chain in chains for text in chain]), table)
    order = group_order(found.descriptiveness, np.tile([1, 2, 3, 4], 1_000), np.repeat(np.arange(1_000), 4))
    assert order.tau > 0.8
    by_length = idf_table(
        document_frequencies(count_words(flickr8k()["train"])), options(term_frequency="length_normalised")
    )
    found = descriptiveness(count_words([text for chain in chains for text in chain]), by_length)
    order = group_order(found.descriptiveness, np.tile([1, 2, 3, 4], 1_000), np.repeat(np.arange(1_000), 4))
    assert order.tau < 0  # the trap: a length-normalised sum turns the order round


@pytest.mark.slow
@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_generated_captions(options: Options, count: int) -> None:
    texts = captions(count).to_pylist()
    assert largest_difference(texts, texts, options()) < 1e-9
