"""The explorer's rankings by a grade: orders, percentages and counts worked out by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_model import KINDS, picture
from starlette.testclient import TestClient

from itm.errors import DataError, ModelError
from itm.explore.matching import Explorer
from itm.explore.ranking import SPECIFICITIES, Ranker, by_similarity, captions_by_grade, images_by_grade
from itm.explore.start import open_explorer
from itm.grading import Calibrator
from itm.model import Model

# log P = cap(s - 3) for d = 0 and cap(s - 5) for d = 2, with cap(x) = (x - sqrt(x^2 + 0.01)) / 2; at s = 0, 1 .. 4
# these are table values: P = 0.0497, 0.1352, 0.3670, 0.9512, 0.9975 for d = 0, and 0.3670 for d = 2 at s = 4
BY_HAND = Calibrator(
    0.0, 4.0, np.array([0.0, 2.0]), np.array([[-2.0, -2.0], [2.0, 2.0]]), np.array([-1.0, -3.0]), "", ""
)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_text_fits_the_sum_of_its_probabilities() -> None:
    found = images_by_grade(floats(2, 4, 0, 3), BY_HAND, np.zeros(1))
    assert found.places == [1, 3, 0, 2]
    assert [each["probability"] for each in found.facts] == pytest.approx([0.9975, 0.9512, 0.3670, 0.0497], abs=1e-4)
    assert [each["bar"] for each in found.facts] == pytest.approx([0.9975, 0.9512, 0.3670, 0.0497], abs=1e-4)
    assert [each["match"] for each in found.facts] == [True, True, False, False]
    assert [each["similarity"] for each in found.facts] == [4, 3, 2, 0]
    assert found.orders == [[0, 1, 2, 3]]  # no specificity moves images
    assert found.about.startswith("Fits about 2 of 4 images. ")  # 2.3654
    assert "Matches (a probability of 50% or more that it is true): 2 of 4." in found.about


def test_a_text_that_fits_nothing() -> None:
    about = images_by_grade(floats(0, 0, 1), BY_HAND, np.zeros(1)).about  # 0.2346
    assert about.startswith("Fits fewer than 1 of 3 images. ")
    assert "0 of 3." in about


def test_the_specific_caption_comes_first_where_specificity_outweighs_probability() -> None:
    """log P + specificity x log 1/pi: -0.05 + x against -1.0025 + 3x, which meet at 0.476."""
    found = captions_by_grade(floats(4, 3), BY_HAND, np.array([2.0, 0.0]))
    assert found.places == [1, 0]
    assert [each["match"] for each in found.facts] == [True, False]
    assert found.orders == [[0, 1]] * 5 + [[1, 0]] * 11
    assert "that it is true): 1 of 2." in found.about
    assert "images" not in found.about


def test_each_order_is_the_best_twelve_of_all() -> None:
    chance = np.random.default_rng(0)
    similarities, d = chance.uniform(0, 4, 500).astype(np.float32), chance.uniform(0, 2, 500)
    found = captions_by_grade(similarities, BY_HAND, d)
    for specificity, order in zip(SPECIFICITIES, found.orders, strict=True):
        grades = BY_HAND.grade(similarities, d, specificity)
        assert [found.places[row] for row in order] == sorted(range(500), key=lambda row: -grades[row])[:12]
    assert found.orders[0] == list(range(12))
    assert len(found.places) == len(found.facts) == len(set(found.places)) < 12 * 16


@pytest.mark.parametrize("count", [1, 3])
def test_equal_similarities_stay_in_place(count: int) -> None:
    equal = floats(*[4] * count)
    assert captions_by_grade(equal, BY_HAND, np.zeros(count)).places == list(range(count))
    assert images_by_grade(equal, BY_HAND, np.zeros(1)).places == list(range(count))
    assert [each["bar"] for each in by_similarity(equal, "").facts] == [1] * count


def test_a_graded_model_answers_what_the_opened_model_says(
    graded: SimpleNamespace, graded_explorer: Explorer, enter: Callable[[Explorer], TestClient]
) -> None:
    client = enter(graded_explorer)
    opened = Model(graded.models[0])
    images = opened.encode_images([picture(*kind) for kind in KINDS])
    answer, plain = client.post("/match/text", json={"text": graded.text}).json()["models"]
    expected = opened.probability(images, opened.encode_texts([graded.text]))[:, 0]
    assert len(answer["results"]) == 12
    for match in answer["results"]:
        assert match["probability"] == pytest.approx(expected[match["row"]], abs=1e-4)
    assert answer["about"].startswith(f"Fits about {expected.sum():.0f} of 12 images. ")
    assert plain["results"][0]["probability"] is None
    assert "No probabilities: " in plain["about"]
    captions = graded_explorer.texts.captions
    answer, plain = client.post("/match/image", json={"row": 5}).json()["models"]
    for specificity, order in zip(SPECIFICITIES, answer["orders"], strict=True):
        grades = opened.grade(images, opened.encode_texts(captions), specificity)[5]
        best = np.argsort(-grades, kind="stable")[:12]
        shown = [captions.index(answer["results"][row]["text"]) for row in order]
        assert grades[shown] == pytest.approx(grades[best], abs=1e-4)
    assert plain["orders"] == [list(range(12))]


def without(folder: Path) -> None:
    (folder / "grade.json").unlink()


def retrained(folder: Path) -> None:
    (folder / "model.json").write_text((folder / "model.json").read_text() + "\n")


def collapsed(folder: Path) -> None:
    (folder / "grade.json").write_text('{"itm_grade": 1, "none": "all similarities are equal"}')


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (without, "has no grade.json, so that its similarities are no probabilities"),
        (retrained, "was fitted for the model"),
        (collapsed, "this model has no grade: all similarities are equal"),
    ],
)
def test_a_model_without_its_grade_says_why(
    graded: SimpleNamespace, tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(graded.models[0], folder)
    spoil(folder)
    ranker = Ranker(Model(folder), ["a red circle"])
    for found in (ranker.images(floats(1, 2), "a"), ranker.captions(floats(1))):
        assert why in found.about
        assert found.facts[0]["probability"] is None


def test_a_damaged_grade_is_refused_before_it_serves(graded: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(graded.models[0], folder)
    (folder / "grade.json").write_text("{")
    with pytest.raises((DataError, ModelError), match=r"grade\.json"):
        open_explorer([folder], str(graded.clean), graded.clean, graded.idf, None, 1, lambda line: None)


def test_a_graded_model_over_photos_without_captions(
    graded: SimpleNamespace, tmp_path: Path, enter: Callable[[Explorer], TestClient]
) -> None:
    (tmp_path / "photo.png").write_bytes(picture(*KINDS[0]))
    missing = tmp_path / "none"
    client = enter(open_explorer(graded.models[:1], str(tmp_path), missing, missing, None, 1, lambda line: None))
    (text,) = client.post("/match/text", json={"text": graded.text}).json()["models"]
    assert text["about"].startswith("Fits ")
    assert 0 < text["results"][0]["probability"] <= 1
    (photo,) = client.post("/match/image", json={"row": 0}).json()["models"]
    assert photo["results"] == []
    assert photo["orders"] == [[]]
