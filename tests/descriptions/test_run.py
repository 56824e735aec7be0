import json

import numpy as np
import pytest
from described import WORDS

from itm.config.model import TowersParameters
from itm.descriptions.prototypes import prototypes_of
from itm.descriptions.records import Description, write_descriptions
from itm.descriptions.run import Tables, coverage_of, describe_images, vectors_of
from itm.descriptions.vectors import DescriptionVectors, read_description_vectors, write_description_vectors
from itm.errors import DataError

TOWERS = TowersParameters(
    kind="scratch",
    frozen=False,
    backend="torch",
    image_size=16,
    context_length=8,
    tokens=False,
    token_grid=0,
    image_width=8,
    text_width=8,
    text_layers=1,
    text_heads=1,
    open_clip_model="",
    open_clip_weights="",
)


@pytest.fixture
def tables(small, tmp_path):
    return Tables.read(small, tmp_path / "features")


@pytest.mark.parametrize("captioner", ["retrieved", "tags"])
def test_descriptions_without_a_model_tell_what_is_there(tables, options, captioner):
    found, usage = describe_images(tables, options(captioner=captioner, captions=1), TOWERS, "cpu")
    assert usage == {}
    assert [one.image_id for one in found] == tables.images["image_id"].tolist()
    right = [WORDS[int(one.image_id.strip("traindevs")) % 4] in (one.text or "") for one in found]
    assert np.mean(right) > 0.9


def test_vectors_coverage_and_prototypes(tables, options, added):
    parameters = options(captioner="retrieved")
    descriptions, usage = describe_images(tables, parameters, TOWERS, "cpu")
    vectors = vectors_of(tables, descriptions, parameters, added(), TOWERS, "cpu")
    assert vectors.descriptions.shape == (48, 8)
    assert vectors.image_rows.tolist() == list(range(48))
    assert vectors.captions is not None
    assert vectors.captions.shape == (97, 8)
    assert not vectors.captions[-1].any()  # the empty text
    assert vectors.prototypes is not None
    assert vectors.prototypes.shape == (4, 8)
    coverage = coverage_of(tables, descriptions, vectors, usage)
    assert coverage["coverage"]["test"] == {"images": 8, "described": 8, "share": 1.0}
    assert coverage["prototypes"] == 4
    again = vectors_of(tables, descriptions, parameters, added(captions=False, prototype_weight=0.0), TOWERS, "cpu")
    assert again.captions is None
    assert again.prototypes is None


def test_prototypes_know_training_images_only(tables, options, added):
    parameters = options(captioner="retrieved")
    descriptions, _ = describe_images(tables, parameters, TOWERS, "cpu")
    first = vectors_of(tables, descriptions, parameters, added(), TOWERS, "cpu")
    others = [
        one if one.split == "train" else Description(one.image_id, one.split, 0, "b", "m") for one in descriptions
    ]
    second = vectors_of(tables, others, parameters, added(), TOWERS, "cpu")
    assert np.array_equal(first.prototypes, second.prototypes)
    assert not np.allclose(first.descriptions, second.descriptions)


def file_of(tmp_path, tables, **changes):
    rows = [Description(image, split, 0, "a dog", "m") for image, split in tables.images[["image_id", "split"]].values]
    rows = [Description(**{**row.__dict__, **changes.get(row.image_id, {})}) for row in rows]
    write_descriptions(tmp_path / "d.jsonl", [row for row in rows if row.text != "gone"])
    return str(tmp_path / "d.jsonl")


def test_gaps_are_refused_or_counted(tables, options, added, tmp_path):
    path = file_of(tmp_path, tables, test3={"text": "gone"}, train0={"text": "gone"})
    parameters = options(captioner="file", file=path)
    with pytest.raises(DataError, match=r"2 of 48 images have no description \(train0 \(train\), test3 \(test\)\)"):
        describe_images(tables, parameters, TOWERS, "cpu")
    parameters = options(captioner="file", file=path, missing="zero")
    descriptions, usage = describe_images(tables, parameters, TOWERS, "cpu")
    vectors = vectors_of(tables, descriptions, parameters, added(prototype_weight=0.0), TOWERS, "cpu")
    of_images = vectors.of_images(48, "sampled")
    assert (np.abs(of_images).sum(1) == 0).sum() == 2
    assert coverage_of(tables, descriptions, vectors, usage)["coverage"]["test"]["share"] == 0.875


def test_a_file_of_other_images_or_splits_is_refused(tables, options, tmp_path):
    path = file_of(tmp_path, tables, test0={"image_id": "stranger"})
    with pytest.raises(DataError, match=r"1 descriptions are of images that the data set lacks \(stranger\)"):
        describe_images(tables, options(captioner="file", file=path), TOWERS, "cpu")
    # a description that says "train" of a test image would pass the rule against leaks
    path = file_of(tmp_path, tables, test0={"split": "train", "conditioned_on": "gt_caption"})
    with pytest.raises(DataError, match=r"another split than the tables \(test0: train, not test\)"):
        describe_images(tables, options(captioner="file", file=path), TOWERS, "cpu")


def test_none_describes_nothing(tables, options, added):
    parameters = options(captioner="none", missing="zero")
    descriptions, _ = describe_images(tables, parameters, TOWERS, "cpu")
    vectors = vectors_of(tables, descriptions, parameters, added(prototype_weight=0.0), TOWERS, "cpu")
    assert vectors.of_images(48, "mean").shape == (48, 8)
    assert not vectors.of_images(48, "mean").any()


def test_vectors_from_files(tables, options, added, tmp_path):
    path = file_of(tmp_path, tables, **{name: {"text": None} for name in tables.images["image_id"]})
    ids = [[name, 0] for name in tables.images["image_id"]]
    rng = np.random.default_rng(0)
    np.save(tmp_path / "d.npy", rng.normal(size=(48, 5)))
    (tmp_path / "d.ids.json").write_text(json.dumps(ids[::-1]))
    np.save(tmp_path / "captions.npy", rng.normal(size=(10, 5)))
    (tmp_path / "captions.ids.json").write_text(json.dumps(list(range(10))))
    parameters = options(captioner="file", file=path, encoder="file")
    descriptions, _ = describe_images(tables, parameters, TOWERS, "cpu")
    vectors = vectors_of(tables, descriptions, parameters, added(prototypes=2), TOWERS, "cpu")
    stored = np.load(tmp_path / "d.npy")[::-1]
    assert np.allclose(vectors.descriptions, stored / np.linalg.norm(stored, axis=1, keepdims=True), atol=1e-6)
    assert vectors.captions is not None
    assert (np.abs(vectors.captions).sum(1) > 0).tolist() == [True] * 10 + [False] * 87
    with pytest.raises(DataError, match="48 descriptions have no text"):
        vectors_of(tables, descriptions, options(captioner="file", file=path), added(), TOWERS, "cpu")


def test_the_file_of_vectors_keeps_them(tmp_path):
    vectors = DescriptionVectors(
        np.eye(3, dtype=np.float32), np.array([0, 0, 2]), np.eye(3, dtype=np.float32)[:2], None, {"a": 1}
    )
    write_description_vectors(tmp_path / "v.safetensors", vectors)
    found = read_description_vectors(tmp_path / "v.safetensors")
    assert np.array_equal(found.descriptions, vectors.descriptions)
    assert (found.image_rows.tolist(), found.prototypes, found.facts) == ([0, 0, 2], None, {"a": 1})
    content = (tmp_path / "v.safetensors").read_bytes()
    (tmp_path / "v.safetensors").write_bytes(content.replace(b"image_rows", b"imagf_rows"))
    with pytest.raises(DataError, match="holds no descriptions"):
        read_description_vectors(tmp_path / "v.safetensors")
    write_description_vectors(tmp_path / "v.safetensors", None)
    with pytest.raises(DataError, match="holds no descriptions"):
        read_description_vectors(tmp_path / "v.safetensors")
    with pytest.raises(DataError, match="dvc repro describe"):
        read_description_vectors(tmp_path / "none.safetensors")


def test_which_of_several_descriptions_counts():
    vectors = DescriptionVectors(np.eye(3, dtype=np.float32), np.array([0, 0, 2]))
    assert vectors.of_images(3, "sampled").tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert np.allclose(vectors.of_images(3, "mean")[0], [0.5**0.5, 0.5**0.5, 0])
    drawn = [vectors.of_images(3, "sampled", np.random.default_rng(seed))[0].argmax() for seed in range(40)]
    assert set(drawn) == {0, 1}
    assert drawn.count(0) > 8


def test_prototypes_are_the_same_every_time_and_find_clusters():
    rng = np.random.default_rng(0)
    centres = np.eye(4, 6)
    vectors = (np.repeat(centres, 25, 0) + rng.normal(0, 0.02, (100, 6))).astype(np.float32)
    a, b = (prototypes_of(vectors, 100, 4, 3) for _ in range(2))
    assert np.array_equal(a, b)
    assert a.dtype == np.float32
    nearest = np.linalg.norm(a[:, None] - centres[None], axis=2).argmin(1)
    assert sorted(nearest) == [0, 1, 2, 3]
    assert len(prototypes_of(vectors, 100, 0, 0)) == 3  # one for 32 images


def test_more_prototypes_than_vectors_are_told():
    with pytest.raises(DataError, match="3 prototypes of 1 different training descriptions"):
        prototypes_of(np.ones((5, 2), np.float32), 5, 3, 0)


@pytest.mark.slow
def test_frozen_towers_are_the_space_and_the_encoder(tables, options, added, tmp_path):
    """Cached features that tell the kind of an image and of a text; MiniLM is the text tower itself."""
    from itm.features import FeatureRows, write_features

    rng = np.random.default_rng(0)
    kinds = [int(name.strip("traindevs")) % 4 for name in tables.images["image_id"]]
    of_texts = [WORDS.index(text.split()[1]) if text else 0 for text in tables.texts]
    images = np.eye(4)[kinds] + rng.normal(0, 0.05, (48, 4))
    texts = np.eye(4)[of_texts] + rng.normal(0, 0.05, (97, 4))
    for name, values in (("images", images), ("texts", texts)):
        write_features(tables.features / f"{name}.safetensors", FeatureRows(values.astype(np.float32), None, {"a": 1}))
    frozen = TOWERS.model_copy(update={"kind": "offline", "frozen": True})
    parameters = options(captioner="retrieved", space="towers")
    found, _ = describe_images(tables, parameters, frozen, "cpu")
    assert all(WORDS[kind] in (one.text or "") for kind, one in zip(kinds, found, strict=True))
    same = parameters.model_copy(update={"encoder": "minilm"})
    vectors = vectors_of(tables, [], same, added(prototype_weight=0.0), frozen, "cpu")
    assert vectors.captions is not None
    expected = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    assert np.allclose(vectors.captions[:-1], expected[:-1], atol=1e-5)
    assert not vectors.captions[-1].any()


def test_without_cached_features_the_space_of_the_towers_is_told(tables, options, tmp_path):
    from itm.features import write_features

    for name in ("images", "texts"):
        write_features(tables.features / f"{name}.safetensors", None)
    with pytest.raises(DataError, match="'towers' needs the cached features of frozen towers"):
        describe_images(tables, options(captioner="retrieved", space="towers"), TOWERS, "cpu")
