"""The expected number of fitting images, against the formula written out and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.config.data import ScoreParameters
from itm.errors import ConfigError
from itm.text import expected_fit as module
from itm.text.counts import count_words, document_frequencies
from itm.text.descriptiveness import descriptiveness
from itm.text.expected_fit import expected_fit
from itm.text.idf import IdfTable, idf_table
from itm.text.stream import score_files
from itm.text.tokens import tokens

Options = Callable[..., ScoreParameters]
WORDS = st.lists(st.sampled_from(["a", "red", "dog", "cat", "bike", "new"]), max_size=5).map(" ".join)


def literal(text: str, idf: dict[str, float], images: dict[int, set[str]], own: int) -> float:
    words = {word for word in tokens(text) if word != "a"}
    fits = [math.exp(-sum(idf[w] for w in words - held)) for image, held in images.items() if image != own]
    return -math.log(sum(fits) / len(fits)) if fits else 0.0


def fit(training: list[str], images: np.ndarray, parameters: ScoreParameters) -> IdfTable:
    groups = images if parameters.document == "image" else None
    return idf_table(document_frequencies(count_words(training), groups), parameters)


@given(st.lists(st.tuples(WORDS, st.integers(0, 4)), min_size=1, max_size=8), st.lists(WORDS, max_size=5))
def test_the_formula_written_out(captions: list[tuple[str, int]], texts: list[str]) -> None:
    captions = sorted(captions, key=lambda caption: caption[1])
    training, images = [text for text, _ in captions], np.array([image for _, image in captions])
    parameters = ScoreParameters.model_validate(
        {"kind": "expected_fit", "term_frequency": "count", "idf": "smooth", "document": "image"}
        | {"keywords": "content", "normalisation": "none", "quantiles": {"low": 0.0, "high": 1.0}}
        | {"minimum_document_frequency": 1}
    )
    table, asked = fit(training, images, parameters), [*texts, *training]
    own = np.array([-1] * len(texts) + images.tolist())
    counts = count_words(asked)
    idf = dict(zip(counts.words.to_pylist(), table.look_up(counts.words)[0].tolist(), strict=True))
    held: dict[int, set[str]] = {}
    for text, image in captions:
        held.setdefault(image, set()).update(tokens(text))
    if len(held) == 1:
        own[:] = -1
    found = expected_fit(counts, table, count_words(training), images, own)
    expected = [literal(text, idf, held, image) for text, image in zip(asked, own.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_words_that_go_together_count_less_than_their_sum(options: Options) -> None:
    training = ["a surfer on a wave", "a surfer rides a wave", "a dog", "a dog", "a cat", "a bike"]
    images = np.arange(6)
    table = fit(training, images, options(document="image", term_frequency="binary"))
    counts = count_words(["surfer wave", "surfer dog", "surfer"])
    together, apart, one = expected_fit(counts, table, count_words(training), images)
    assert one < together < apart
    assert (descriptiveness(counts, table).descriptiveness[:2] >= [together, apart]).all()


def test_more_words_fit_fewer_images(options: Options) -> None:
    training = ["a red dog", "a dog", "a cat", "a red bike"]
    table = fit(training, np.arange(4), options())
    texts = ["", "dog", "red dog", "red dog bike", "red dog bike zebra", "red dog bike zebra " + "w " * 9]
    d = expected_fit(count_words(texts), table, count_words(training), np.arange(4))
    assert d[0] == 0
    assert (np.diff(d) > 0).all()


def test_long_captions_do_not_overflow(options: Options) -> None:
    training = ["dog", "cat"]
    table = fit(training, np.arange(2), options())
    text = " ".join(f"w{number}" for number in range(5_000))
    counts = count_words([text, text + " dog"])
    d = expected_fit(counts, table, count_words(training), np.arange(2))
    assert np.isfinite(d).all()
    assert d[0] == pytest.approx(descriptiveness(counts, table).descriptiveness[0])


def test_blocks_and_the_pool_of_images(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    training = [f"dog{number % 7} cat{number % 3}" for number in range(40)]
    table, counts = fit(training, np.arange(40), options()), count_words(training)
    whole = expected_fit(counts, table, counts, np.arange(40), np.arange(40))
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert expected_fit(counts, table, counts, np.arange(40), np.arange(40)).tolist() == pytest.approx(whole.tolist())
    monkeypatch.setattr(module, "IMAGES", 20)
    assert np.isfinite(expected_fit(counts, table, counts, np.arange(40), np.arange(40))).all()


def test_files_cannot_be_scored_by_it(tmp_path: object, options: Options) -> None:
    from pathlib import Path

    with pytest.raises(ConfigError, match="in memory; files are scored by tfidf or keyword_count"):
        score_files([], Path(str(tmp_path)) / "out.parquet", options(kind="expected_fit"))
