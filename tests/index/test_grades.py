"""Grades of an opened model and of a search: those of its calibrator, or the reason why there are none."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_model import KINDS, picture, save_small_grade
from typer.testing import CliRunner

import itm
from itm.data.decode import square
from itm.errors import ModelError
from itm.grading.calibrator import write_no_grade
from itm.grading.texts import describe
from itm.index.commands import index_app, search_app
from itm.text.tables import read_idf

TEXTS = ["a square", "a large blue square"]


@pytest.fixture
def graded(small: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """A model whose folder holds a calibrator that was made up for it."""
    folder = tmp_path / "model"
    shutil.copytree(small.models[0], folder)
    made = save_small_grade(folder, small.idf)
    return SimpleNamespace(folder=folder, calibrator=made, idf=read_idf(small.idf))


def encoded(folder: Path, texts: list[str] = TEXTS) -> tuple:
    model = itm.load(folder)
    return model, model.encode_images([picture(*kind) for kind in KINDS]), model.encode_texts(texts)


def test_an_opened_model_gives_the_grades_of_its_calibrator(graded: SimpleNamespace) -> None:
    model, images, texts = encoded(graded.folder)
    s, d = model.similarity(images, texts), describe(TEXTS, graded.idf)
    assert d[0] < d[1]
    assert model.probability(images, texts) == pytest.approx(graded.calibrator.probability(s, d))
    for specificity in (0.0, 1.0, 2.5):
        expected = graded.calibrator.grade(s, d, specificity)
        assert model.grade(images, texts, specificity=specificity) == pytest.approx(expected)


def no_file(folder: Path) -> None:
    (folder / "grade.json").unlink()


def retrained(folder: Path) -> None:
    (folder / "model.json").write_text((folder / "model.json").read_text() + "\n")


def other_words(folder: Path) -> None:
    path = folder / "grade.json"
    path.write_text(path.read_text().replace('"idf": "', '"idf": "other'))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_file, r"model: has no grade\.json, .* the stage `grade` writes it"),
        (retrained, r"grade\.json was fitted for the model"),
        (other_words, r"grade\.json was fitted for the idf table 'other"),
        (lambda folder: write_no_grade(folder / "grade.json", "it collapsed"), "has no grade: it collapsed"),
    ],
)
def test_without_a_grade_of_its_own_a_model_says_so(graded: SimpleNamespace, spoil, message: str) -> None:
    spoil(graded.folder)
    model, images, texts = encoded(graded.folder)
    assert model.similarity(images, texts).shape == (len(KINDS), 2)  # what needs no grade goes on
    with pytest.raises(ModelError, match=message) as caught:
        model.probability(images, texts)
    assert len(str(caught.value)) < 1000


def test_grades_want_texts(graded: SimpleNamespace) -> None:
    model, images, texts = encoded(graded.folder)
    for pair in ((images, images), (images, model.encode_texts([])), (model.encode_images([]), texts)):
        with pytest.raises(ModelError, match="give what encode_images and encode_texts returned"):
            model.grade(*pair)


def test_a_search_prints_grades_and_probabilities(graded: SimpleNamespace, tmp_path: Path) -> None:
    photos, index = tmp_path / "photos", tmp_path / "x.index"
    photos.mkdir()
    for number, kind in enumerate(KINDS):
        (photos / f"{number:02d}.png").write_bytes(picture(*kind))
    run = CliRunner().invoke
    assert run(index_app, [str(graded.folder), "--images", str(photos), "--out", str(index)]).exit_code == 0
    words = [TEXTS[1], "--index", str(index), "-k", "12", "--exact"]
    plain = [line.split() for line in run(search_app, words).stdout.splitlines()]
    lines = [line.split() for line in run(search_app, [*words, "--specificity", "1"]).stdout.splitlines()]
    assert [line[-1] for line in lines] == [line[-1] for line in plain]  # the order of images is the same
    model = itm.load(graded.folder)
    pixels = [square((photos / name).read_bytes(), model.towers.image_size) for *_, name in plain]
    images, texts = model.encode_images(pixels), model.encode_texts(TEXTS[1:])
    grades, chances = model.grade(images, texts, 1)[:, 0], model.probability(images, texts)[:, 0]
    assert [float(line[1]) for line in lines] == pytest.approx(grades, abs=2e-3)
    assert [float(line[2].rstrip("%")) for line in lines] == pytest.approx(100 * chances, abs=0.1)
    no_file(graded.folder)
    failed = run(search_app, [*words, "--specificity", "0"])
    assert isinstance(failed.exception, ModelError)
    assert failed.stdout == ""
