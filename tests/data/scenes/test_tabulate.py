from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itm.config.data import ScenesParameters
from itm.data.scenes import Tables, read_scenes, tables, write_scenes
from itm.data.scenes.logic import requirement_facts, scene_facts
from itm.data.scenes.records import Requirement, Scene
from itm.data.scenes.truth import similarity
from itm.errors import DataError


def test_captions_are_numbered_in_order(small_tables: Tables) -> None:
    captions = small_tables.captions
    assert list(captions) == ["caption_id", "image_id", "split", "position", "text", "level", "multiplicity"]
    assert captions["caption_id"].tolist() == list(range(600))
    assert captions["caption_id"].dtype == np.int64
    assert captions["position"].tolist() == [0, 1, 2, 3, 4] * 120
    assert captions["level"].dtype == captions["position"].dtype == np.int8
    assert captions["multiplicity"].dtype == np.int32
    assert (captions["multiplicity"] >= 1).all()
    assert captions["image_id"].drop_duplicates().tolist() == small_tables.images["image_id"].tolist()
    assert small_tables.images["split"].tolist() == ["train"] * 60 + ["dev"] * 20 + ["test"] * 40


def test_truth_agrees_with_multiplicity_and_own_images(small_tables: Tables) -> None:
    for split, images in (("dev", 20), ("test", 40)):
        captions = small_tables.captions.query("split == @split")
        grades = small_tables.truth[f"{split}_grade"]
        assert grades.shape == (images, 5 * images)
        assert grades.dtype == np.float32
        assert small_tables.truth[f"{split}_caption_ids"].tolist() == captions["caption_id"].tolist()
        assert small_tables.truth[f"{split}_image_ids"].tolist() == captions["image_id"].drop_duplicates().tolist()
        np.testing.assert_array_equal((grades == 5).sum(axis=0), captions["multiplicity"])
        assert (grades[np.repeat(np.arange(images), 5), np.arange(5 * images)] == 5).all()


def test_chains_are_of_the_test_split(small_tables: Tables) -> None:
    hierarchies = small_tables.hierarchies
    assert hierarchies["level"].tolist() == [1, 2, 3, 4] * 40
    test = small_tables.images.query("split == 'test'")["image_id"]
    assert hierarchies["image_id"].drop_duplicates().tolist() == test.tolist()


def test_scores_of_rated_pairs_are_exact(small_tables: Tables, small_file: Path) -> None:
    test = [scene for scene in read_scenes(small_file) if scene.split == "test"]
    by_image: dict[str, Scene] = {scene.image_id: scene for scene in test}
    ids = small_tables.captions.query("split == 'test'")["caption_id"]
    requirements = [caption.requirement for scene in test for caption in scene.captions]
    by_caption: dict[int, Requirement] = dict(zip(ids, requirements, strict=True))
    ratings = small_tables.ratings
    for kind, facts, find, columns in (
        ("sts", requirement_facts, by_caption, ["caption_id_1", "caption_id_2"]),
        ("sis", scene_facts, by_image, ["image_id_1", "image_id_2"]),
    ):
        rows = ratings[ratings["kind"] == kind]
        others = {"caption_id_1", "image_id_1", "caption_id_2", "image_id_2"} - set(columns)
        assert rows[sorted(others)].isna().all(axis=None)
        first, second = ([find[name] for name in rows[column]] for column in columns)  # type: ignore[index]
        exact = np.diagonal(similarity(facts(first), facts(second)))  # type: ignore[operator]
        np.testing.assert_allclose(rows["score"], exact, rtol=1e-6)
        pairs = {frozenset(pair) for pair in rows[columns].itertuples(index=False)}
        assert all(len(pair) == 2 for pair in pairs)
        assert len(pairs) == len(rows)
    rows = ratings[ratings["kind"] == "sits"]
    grades = pd.DataFrame(
        small_tables.truth["test_grade"], small_tables.truth["test_image_ids"], small_tables.truth["test_caption_ids"]
    )
    pairs = zip(rows["image_id_1"], rows["caption_id_1"], strict=True)
    exact = [grades.loc[image, caption] for image, caption in pairs]
    np.testing.assert_array_equal(rows["score"], np.array(exact, dtype=float))
    assert not rows.duplicated(["image_id_1", "caption_id_1"]).any()


def test_ratings_cover_every_caption_and_the_whole_scale(small_tables: Tables) -> None:
    ratings = small_tables.ratings
    own = ratings.query("sampling == 'c2i_original'")
    assert len(own) == 200
    assert (own["score"] == 5).all()
    for kind in ("sts", "sis", "sits"):
        scores = ratings.loc[ratings["kind"] == kind, "score"]
        assert scores.between(0, 5).all()
        assert (np.histogram(scores, bins=5, range=(0, 5))[0] > 0).all(), kind
    assert ratings["judge"].eq(-1).all()
    assert ratings.dtypes.astype(str).to_dict() == {
        "kind": "str", "caption_id_1": "Int64", "caption_id_2": "Int64", "image_id_1": "string",
        "image_id_2": "string", "score": "float64", "sampling": "str", "judge": "int8",
    }  # fmt: skip


def test_the_seed_chooses_the_rated_pairs_only(small_tables: Tables, small_file: Path) -> None:
    again, other = tables(small_file), tables(small_file, seed=1)
    pd.testing.assert_frame_equal(again.ratings, small_tables.ratings)
    assert not other.ratings.equals(small_tables.ratings)
    pd.testing.assert_frame_equal(other.captions, small_tables.captions)


def test_a_tiny_test_split(small: ScenesParameters, tmp_path: Path) -> None:
    tiny = small.model_copy(update={"train_images": 8, "dev_images": 8, "test_images": 8, "captions_per_image": 4})
    write_scenes(tiny, tmp_path / "scenes.jsonl")
    found = tables(tmp_path / "scenes.jsonl")
    assert set(found.ratings["kind"]) == {"sts", "sis", "sits"}
    assert len(found.captions) == 96


def test_a_large_training_split_is_not_counted(small_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itm.data.scenes.tabulate.MOST_COUNTED", 30)
    monkeypatch.setattr("itm.data.scenes.tabulate._BLOCK", 16)
    captions = tables(small_file).captions
    assert captions.query("split == 'train'")["multiplicity"].eq(-1).all()
    assert captions.query("split != 'train'")["multiplicity"].ge(1).all()
    assert captions["caption_id"].tolist() == list(range(600))


def rewritten(change: Callable[[dict], None]) -> Callable[[list[dict]], list[dict]]:  # type: ignore[type-arg]
    def apply(scenes: list[dict]) -> list[dict]:  # type: ignore[type-arg]
        change(scenes[-1])
        return scenes

    return apply


def false_caption(scene: dict) -> None:  # type: ignore[type-arg]
    scene["captions"][1]["requirement"]["objects"] = [{}] * 4


def loose_chain(scene: dict) -> None:  # type: ignore[type-arg]
    scene["chain"][3] = {**scene["chain"][0], "level": 4}


BAD_FILES = [
    (rewritten(false_caption), "1 captions are not true of their own image: test-000039"),
    (rewritten(loose_chain), "1 levels of chains do not entail the level before: test-000039 level 4"),
    (lambda scenes: scenes[::-1], "splits in the order test, dev, train; expected train, dev, test"),
    (lambda scenes: scenes[:80], "splits in the order train, dev; expected train, dev, test"),
    (lambda scenes: [], "splits in the order none; expected train, dev, test"),
]


@pytest.mark.parametrize(("change", "message"), BAD_FILES)
def test_a_file_that_breaks_its_contract_is_refused(small_file: Path, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    scenes = [json.loads(line) for line in small_file.read_text(encoding="utf-8").splitlines()]
    bad = tmp_path / "scenes.jsonl"
    bad.write_text("".join(json.dumps(scene) + "\n" for scene in change(scenes)), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        tables(bad)
