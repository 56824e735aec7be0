"""The explorer's rankings by a grade: orders, percentages and counts worked out by hand."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_model import KINDS, picture
from starlette.testclient import TestClient

from itm.errors import DataError, ModelError
from itm.explore.matching import Explorer
from itm.explore.ranking import Ranker, View, by_similarity, captions_by_grade, images_by_grade, read_view
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
    found = images_by_grade(floats(2, 4, 0, 3), BY_HAND, np.zeros(1), View())
    assert found.places == [1, 3, 0, 2]
    assert [each["probability"] for each in found.facts] == pytest.approx([0.9975, 0.9512, 0.3670, 0.0497], abs=1e-4)
    assert [each["bar"] for each in found.facts] == pytest.approx([0.9975, 0.9512, 0.3670, 0.0497], abs=1e-4)
    assert [each["match"] for each in found.facts] == [True, True, False, False]
    assert [each["similarity"] for each in found.facts] == [4, 3, 2, 0]
    assert found.about.startswith("Fits about 2 of 4 images. ")  # 2.3654
    assert (found.listed, found.matches) == (4, 2)
    other = View(specificity=1.5)
    assert images_by_grade(floats(2, 4, 0, 3), BY_HAND, np.zeros(1), other) == found  # images keep their order


def test_a_text_that_fits_nothing() -> None:
    found = images_by_grade(floats(0, 0, 1), BY_HAND, np.zeros(1), View(only=True))  # 0.2346
    assert found.about.startswith("Fits fewer than 1 of 3 images. ")
    assert (found.places, found.facts, found.listed, found.matches) == ([], [], 0, 0)


@pytest.mark.parametrize(
    ("threshold", "matches"), [(1, 4), (4, 4), (5, 3), (36, 3), (37, 2), (95, 2), (96, 1), (99, 1)]
)
def test_the_matches_at_a_threshold(threshold: int, matches: int) -> None:
    """The probabilities are 99.75, 95.12, 36.70 and 4.97 percent."""
    similarities, d = floats(2, 4, 0, 3), np.zeros(4)
    view = View(threshold=threshold, only=True)
    for found in (
        images_by_grade(similarities, BY_HAND, d[:1], view),
        captions_by_grade(similarities, BY_HAND, d, view),
    ):
        assert found.places == [1, 3, 0, 2][:matches]
        assert (found.listed, found.matches) == (matches, matches)
        assert all(each["match"] for each in found.facts)
        assert all(int(100 * each["probability"]) >= threshold for each in found.facts)
    everything = images_by_grade(similarities, BY_HAND, d[:1], View(threshold=threshold))
    assert [each["match"] for each in everything.facts] == [place < matches for place in range(4)]
    assert (everything.listed, everything.matches) == (4, matches)


def test_the_specific_caption_comes_first_where_specificity_outweighs_probability() -> None:
    """log P + specificity x log 1/pi: -0.05 + x against -1.0025 + 3x, which meet at 0.476."""
    d = np.array([2.0, 0.0])
    for specificity, places in ((0, [1, 0]), (0.47, [1, 0]), (0.48, [0, 1]), (1.5, [0, 1])):
        found = captions_by_grade(floats(4, 3), BY_HAND, d, View(specificity=specificity))
        assert found.places == places
        assert [each["match"] for each in found.facts] == [place == 1 for place in places]  # 0.9512 and 0.3670
        assert found.matches == 1
        assert "images" not in found.about
    assert captions_by_grade(floats(4, 3), BY_HAND, d, View(specificity=1.5, only=True)).places == [1]


def test_pages_are_parts_of_the_whole_order() -> None:
    chance = np.random.default_rng(0)
    similarities, d = chance.uniform(0, 4, 50).astype(np.float32), chance.uniform(0, 2, 50)
    for view in (View(specificity=0.7), View(only=True, threshold=20)):
        grades = BY_HAND.grade(similarities, d, view.specificity)
        whole = sorted(range(50), key=lambda row: -grades[row])
        if view.only:
            probability = BY_HAND.probability(similarities, d)
            whole = [row for row in whole if probability[row] >= 0.2]
        pages = [
            captions_by_grade(similarities, BY_HAND, d, view.model_copy(update={"skip": skip})).places
            for skip in range(0, 72, 12)
        ]
        assert len(pages[0]) == 12
        assert list(chain.from_iterable(pages)) == whole
        assert pages[-1] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": "0"}, "'threshold': Input should be greater than or equal to 1, not '0'"),
        ({"threshold": "100"}, "'threshold': Input should be less than or equal to 99, not '100'"),
        ({"threshold": "0.5"}, "'threshold': Input should be a valid integer"),
        ({"threshold": ""}, "'threshold': Input should be a valid integer"),
        ({"specificity": "1.6"}, "'specificity': Input should be less than or equal to 1.5, not '1.6'"),
        ({"specificity": "-0.1"}, "'specificity': Input should be greater than or equal to 0"),
        ({"specificity": "nan"}, "'specificity': Input should be"),
        ({"skip": "-12"}, "'skip': Input should be greater than or equal to 0"),
        ({"skip": "1" * 5000}, "'skip': "),
        ({"only": "perhaps"}, "'only': Input should be a valid boolean"),
        ({"treshold": "40"}, "'treshold': Extra inputs are not permitted"),
        ({str(number): "x" * 5000 for number in range(50)}, "and 47 more"),
    ],
)
def test_bad_views(given: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        read_view(given)
    assert len(str(raised.value)) < 1000
    assert read_view({}) == View(specificity=0, threshold=50, only=False, skip=0)


@pytest.mark.parametrize("count", [1, 3])
def test_equal_similarities_stay_in_place(count: int) -> None:
    equal = floats(*[4] * count)
    assert captions_by_grade(equal, BY_HAND, np.zeros(count), View()).places == list(range(count))
    assert images_by_grade(equal, BY_HAND, np.zeros(1), View()).places == list(range(count))
    assert [each["bar"] for each in by_similarity(equal, "", View()).facts] == [1] * count


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
    for specificity in (0, 0.7, 1.5):
        grades = opened.grade(images, opened.encode_texts(captions), specificity)[5]
        best = np.argsort(-grades, kind="stable")
        for skip in (0, 12):
            view = f"/match/image?specificity={specificity}&skip={skip}"
            answer, plain = client.post(view, json={"row": 5}).json()["models"]
            shown = [captions.index(each["text"]) for each in answer["results"]]
            assert grades[shown] == pytest.approx(grades[best[skip : skip + 12]], abs=1e-4)
            assert answer["listed"] == plain["listed"] == len(captions)


@pytest.mark.parametrize("door", ["text", "image", "photo"])
def test_every_door_lists_the_matches(
    graded: SimpleNamespace, graded_explorer: Explorer, enter: Callable[[Explorer], TestClient], door: str
) -> None:
    client = enter(graded_explorer)
    question = {
        "text": {"json": {"text": graded.text}},
        "image": {"json": {"row": 5}},
        "photo": {"files": {"photo": ("x.png", picture(*KINDS[5]), "image/png")}},
    }[door]
    whole = client.post(f"/match/{door}", **question).json()
    half = client.post(f"/match/{door}?threshold=50&only=true", **question).json()
    graded_side, plain = half["models"]
    assert 0 < graded_side["listed"] == graded_side["matches"] == whole["models"][0]["matches"] < half["of"]
    assert all(each["probability"] >= 0.5 for each in graded_side["results"])
    assert plain == whole["models"][1]  # of a model without a grade nobody knows the matches
    assert (plain["matches"], plain["listed"]) == (None, half["of"])
    assert graded_side["walk"] == whole["models"][0]["walk"]
    far = client.post(f"/match/{door}?threshold=50&only=true&skip=1000", **question).json()["models"]
    assert [side["results"] for side in far] == [[], []]
    assert [side["walk"] for side in far] == [side["walk"] for side in whole["models"]]
    refused = client.post(f"/match/{door}?threshold=0", **question)
    assert (refused.status_code, refused.json()["reason"]) == (422, "bad-view")


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
    for found in (ranker.images(floats(1, 2), "a", View()), ranker.captions(floats(1), View(only=True))):
        assert why in found.about
        assert found.matches is None
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
    assert (photo["listed"], photo["matches"]) == (0, None)
