import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.descriptions.questions import Picture
from itm.descriptions.retrieved import likely_words, retrieve_captions
from itm.descriptions.space import fold_of, place_images
from itm.errors import DataError

OPTIONS = {"joined": 1, "per_image": 1, "ridge": 0.01, "folds": 3}


def made(images: int = 30, kinds: int = 3, copies: bool = False):
    """Images of some kinds; features and caption vectors tell the kind; every caption names its image."""
    rng = np.random.default_rng(1)
    kind = np.arange(images) % kinds
    split = ["train"] * (images - 6) + ["dev"] * 3 + ["test"] * 3
    pictures = [
        Picture(row, f"i{row}", split[row], f"content{row // 2 * 2 if copies and row < 4 else row}")
        for row in range(images)
    ]
    features = (np.eye(kinds)[kind] + rng.normal(0, 0.05, (images, kinds))).astype(np.float32)
    captions = pd.DataFrame({"image_id": [f"i{row}" for row in range(images - 6)]})
    captions["text"] = [f"kind{kind[row]} of i{row}" for row in range(images - 6)]
    vectors = np.eye(kinds, dtype=np.float32)[kind[: images - 6]] + rng.normal(0, 0.02, (images - 6, kinds))
    return pictures, features, captions, vectors.astype(np.float32), kind


def test_captions_of_the_right_kind_are_found_everywhere():
    pictures, features, captions, vectors, kind = made()
    found = retrieve_captions(pictures, features, captions, vectors, **OPTIONS)
    assert [one.image_id for one in found] == [picture.image_id for picture in pictures]
    assert all((one.text or "").startswith(f"kind{kind[row]} ") for row, one in enumerate(found))
    assert {one.conditioned_on for one in found} == {"retrieved_caption"}


def test_an_images_own_caption_and_those_of_its_copies_are_never_taken():
    pictures, features, captions, vectors, _ = made(copies=True)
    found = retrieve_captions(pictures, features, captions, vectors, **(OPTIONS | {"joined": 24}))
    texts = {one.image_id: one.text or "" for one in found}
    for row in range(24):
        assert f" i{row}." not in texts[f"i{row}"]
    assert " i1." not in texts["i0"]  # copies of each other
    assert " i0." not in texts["i1"]
    assert texts["i29"].count("kind") == 24  # a test image may have all


def test_a_caption_that_another_image_has_too_is_allowed():
    pictures, features, captions, vectors, _ = made()
    captions["text"] = "always the same"
    found = retrieve_captions(pictures, features, captions, vectors, **OPTIONS)
    assert {one.text for one in found} == {"always the same."}


def test_further_descriptions_go_on_where_the_first_ended():
    pictures, features, captions, vectors, _ = made()
    four = retrieve_captions(pictures, features, captions, vectors, **(OPTIONS | {"joined": 4}))
    two = retrieve_captions(pictures, features, captions, vectors, **(OPTIONS | {"joined": 2, "per_image": 2}))
    assert [one.desc_id for one in two[:4]] == [0, 1, 0, 1]
    joined = {one.image_id: one.text for one in four}
    assert all(f"{a.text} {b.text}" == joined[a.image_id] for a, b in zip(two[::2], two[1::2], strict=True))


def test_tags_name_the_kind():
    pictures, features, captions, _, kind = made(60)
    found = likely_words(pictures, features, captions, words=1, least=2, ridge=0.01, folds=3)
    assert [one.text for one in found] == [f"A picture of kind{kind[row]}." for row in range(60)]


def spoken(images: int, width: int, vocabulary: int, rare: float):
    """Images of random features, most of them with a few captions of words that the features make likely."""
    rng = np.random.default_rng(2)
    split = np.array(["train"] * (images * 4 // 5) + ["dev"] * (images - images * 4 // 5))
    pictures = [Picture(row, f"i{row}", str(split[row]), f"content{row // 3}") for row in range(images)]
    features = rng.normal(size=(images, width)).astype(np.float32)
    likely = features @ rng.normal(size=(width, vocabulary)) + rng.normal(size=vocabulary)
    said = [
        (f"i{row}", " ".join(f"word{word}" for word in np.flatnonzero(likely[row] > rng.normal(rare, 1, vocabulary))))
        for row in np.flatnonzero(split == "train")
        if row % 7
        for _ in range(2)
    ]
    return pictures, features, pd.DataFrame(said, columns=["image_id", "text"])


def test_tags_are_those_of_the_whole_matrix_of_images_and_words():
    from sklearn.feature_extraction.text import CountVectorizer

    pictures, features, captions = spoken(300, 6, 40, rare=3)
    found = likely_words(pictures, features, captions, words=4, least=5, ridge=0.1, folds=3)
    by_image = captions.groupby("image_id", sort=False)["text"].agg(" ".join)
    counter = CountVectorizer(binary=True, min_df=5)
    present = counter.fit_transform(by_image).toarray().astype(np.float32)
    targets = np.zeros((300, present.shape[1]), np.float32)
    targets[[int(name[1:]) for name in by_image.index]] = present
    train = np.zeros(300, bool)
    train[[int(name[1:]) for name in by_image.index]] = True
    fold = fold_of(np.array([picture.sha256 for picture in pictures]), 3)
    scores = place_images(features, targets, train, fold, 0.1) / np.maximum(present.std(0), 1e-3)
    names = counter.get_feature_names_out()[np.argsort(-scores, axis=1, kind="stable")[:, :4]]
    assert [one.text for one in found] == [f"A picture of {', '.join(row)}." for row in names]
    assert 0 < train[:240].sum() < 240
    assert len(set(names.ravel())) > 10


@pytest.mark.slow
def test_tags_make_no_matrix_of_images_and_words():
    pictures, features, captions = spoken(6000, 8, 1500, rare=8)
    tracemalloc.start()
    likely_words(pictures, features, captions, words=3, least=5, ridge=0.1, folds=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000 * 1500 * 4


@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.integers(2, 5))
def test_copies_share_a_fold_whatever_else_there_is(names, folds):
    found = fold_of(np.array(names), folds)
    assert set(found) <= set(range(folds))
    assert all(fold_of(np.array([name]), folds)[0] == fold for name, fold in zip(names, found, strict=True))


def test_a_training_image_is_placed_without_its_own_target():
    pictures, features, _, vectors, _ = made()
    train = np.array([picture.split == "train" for picture in pictures])
    targets = np.zeros((30, 3), np.float32)
    targets[train] = vectors
    fold = np.arange(30) % 3
    before = place_images(features, targets, train, fold, 0.01)
    targets[0] += 100
    after = place_images(features, targets, train, fold, 0.01)
    same = fold == fold[0]
    assert np.array_equal(before[train & same], after[train & same])
    assert not np.allclose(before[train & ~same], after[train & ~same])
    assert not np.allclose(before[~train], after[~train])


def test_places_equal_ridge_regression_by_scikit_learn():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5)).astype(np.float32)
    targets = rng.normal(size=(40, 2)).astype(np.float32)
    train = np.arange(40) < 30
    found = place_images(features, targets, train, np.arange(40) % 4, 0.5)
    scaled = (features - features[train].mean(0)) / (features[train].std(0) + 1e-6)
    peer = Ridge(alpha=0.5 * 30).fit(scaled[train], targets[train])
    expected = peer.predict(scaled[~train]) - targets[train].mean(0)
    assert np.allclose(found[~train], expected, atol=1e-4)


def test_too_few_images_are_told():
    with pytest.raises(DataError, match=r"describe\.folds: 2 training images"):
        place_images(np.ones((2, 1), np.float32), np.ones((2, 1), np.float32), np.ones(2, bool), np.arange(2), 1.0)
