"""Captions as token ids, and what training changes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bert import tiny_bert

from itm.config.additions import WordsParameters
from itm.errors import ModelError
from itm.towers.hugging_face import TextEncoder, width_of
from itm.towers.word_ids import WordIds, word_ids

TEXTS = ["a dog is playing", "a dog", ""]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)


def options(model: str, **changes: float) -> WordsParameters:
    given = {"model": model, "length": 8, "rate": 0.1, "masked": 0.1, "replaced": 0.02, "dropped": 0.08}
    return WordsParameters.model_validate({**given, **changes})


def test_ids_and_words_by_hand(bert: str) -> None:
    found = word_ids(options(bert), TEXTS)
    # [CLS] a dog is play ##ing [SEP]
    assert found.words.tolist()[0] == [-1, 0, 1, 2, 3, 3, -1, -1]
    assert found.ids[0, [0, 4, 5, 6, 7]].tolist() == [2, 7, 8, 3, 0]
    assert found.words.tolist()[2] == [-1] * 8
    assert (found.ids[2] != 0).sum() == 2
    assert found.rows(np.array([1, 0])).tolist() == found.ids[[1, 0]].tolist()


def test_masked_words_lose_all_pieces_and_dropped_ones_close_the_gap(bert: str) -> None:
    everything = {"replaced": 0.0, "dropped": 0.0, "masked": 0.0}
    plain = word_ids(options(bert), TEXTS).ids
    masked = word_ids(options(bert, **{**everything, "masked": 1.0}), TEXTS, seed=0).rows(np.arange(3))
    assert masked.tolist() == [[2, 4, 4, 4, 4, 4, 3, 0], [2, 4, 4, 3, 0, 0, 0, 0], plain[2].tolist()]
    dropped = word_ids(options(bert, **{**everything, "dropped": 1.0}), TEXTS, seed=0).rows(np.arange(3))
    assert dropped.tolist() == [[2, 3, 0, 0, 0, 0, 0, 0]] * 3
    replaced = word_ids(options(bert, **{**everything, "replaced": 1.0}), TEXTS, seed=0).rows(np.arange(3))
    assert (replaced[:, 0] == 2).all()
    assert (replaced != 0).sum(1).tolist() == pytest.approx((plain != 0).sum(1).tolist(), abs=1)


def test_shares_and_draws_of_many_words(bert: str) -> None:
    found = word_ids(options(bert, length=64), ["dog " * 50] * 400, seed=3)
    every = np.arange(400)
    rows = found.rows(every)
    assert (rows == 4).sum() / 20_000 == pytest.approx(0.10, abs=0.01)
    assert 1 - ((rows != 0).sum() - 800) / 20_000 == pytest.approx(0.08, abs=0.01)
    # the same for any cut, another in another epoch
    assert np.array_equal(np.concatenate([found.rows(every[:7]), found.rows(every[7:])]), rows)
    found.epoch = 1
    assert not np.array_equal(found.rows(every), rows)
    found.epoch = 0
    assert np.array_equal(found.rows(every), rows)


def test_the_encoder_equals_transformers_whatever_the_padding(bert: str) -> None:
    from transformers import AutoModel

    encoder, theirs = TextEncoder(bert).eval(), AutoModel.from_pretrained(bert).eval()
    encoder.take_weights()
    ids = torch.from_numpy(word_ids(options(bert), TEXTS).ids)
    states, mask = encoder(ids)
    assert states.shape == (3, 7, 16)
    assert width_of(bert) == 16
    for row in range(3):
        real = ids[row][ids[row] != 0]
        expected = theirs(input_ids=real.unsqueeze(0)).last_hidden_state[0]
        torch.testing.assert_close(states[row][mask[row]], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["no/such-model-anywhere", "nowhere"])
def test_a_model_that_cannot_be_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=rf"add.words.model: '{tmp_path}/{name}' cannot be read \("):
        width_of(f"{tmp_path}/{name}")


def test_shares_that_sum_to_more_than_all_words(bert: str) -> None:
    with pytest.raises(ValueError, match=r"shares of all words, and sum to 1\.1"):
        options(bert, masked=0.5, dropped=0.5, replaced=0.1)


def test_texts_without_changes_are_the_ids() -> None:
    ids = np.array([[2, 5, 3]])
    assert WordIds(ids, np.array([[-1, 0, -1]]), 0).rows(np.array([0, 0])).tolist() == [[2, 5, 3]] * 2
