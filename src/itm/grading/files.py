"""A calibrator among files: beside its idf table, in a model's folder, applied to a file of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from itm.data.layout import GRADE
from itm.errors import ModelError
from itm.grading.calibrator import Calibrator
from itm.grading.scorer import Graded
from itm.grading.texts import Ids, describe, idf_hash, read_captions
from itm.metrics.scorer import Scorer
from itm.text.idf import IdfTable
from itm.text.tables import read_idf
from itm.vectors import SCORES, Gallery, Vectors, read_similarity, read_vectors


class Grade(NamedTuple):
    """A calibrator, and the idf table that gives the descriptiveness of any text."""

    calibrator: Calibrator
    idf: IdfTable


def beside(grade: Path) -> Path:
    """Where the idf table of a calibrator lies."""
    return grade.with_suffix(".idf.parquet")


def open_grade(path: Path, model: str | None = None, idf: Path | None = None) -> Grade:
    """A calibrator with the idf table beside it, or another that holds the same.

    Raises:
        DataError: a file is missing or damaged.
        ModelError: the calibrator is another model's or another idf table's, or says that there is none.
    """
    calibrator = Calibrator.load(path, model)
    table = read_idf(idf or beside(path))
    return Grade(calibrator.check(calibrator.model, idf_hash(table), str(path)), table)


def grade_of(folder: Path, model: str) -> Grade:
    """The grade in the folder of a model with this hash.

    Raises:
        ModelError: there is none, or it is another model's.
        DataError: it is damaged.
    """
    path = Path(folder) / GRADE
    if not path.is_file():
        raise ModelError(
            f"{folder}: has no {GRADE}, so that its similarities are no probabilities; the stage `grade` writes it"
            " (`dvc repro grade`)",
            reason="no-grade",
        )
    return open_grade(path, model)


def similarities(vectors: Vectors, caption_ids: Ids, normalize: bool, name: str) -> tuple[Scorer, str]:
    """The similarities of all images of a file with these captions, and what they are called in a calibrator."""
    gallery = Gallery(vectors.ids("image"), caption_ids, np.zeros(len(caption_ids), np.int64))
    similarity = read_similarity(vectors, gallery, normalize)
    for each in ("image", "caption"):
        vectors.count(each)  # says which is missing
    kind = "scores of pairs"
    if similarity.image is not None:
        width = similarity.image.shape[1]
        kind = f"{width} dimensions {'scaled to unit length' if normalize else 'as given'}"
    return similarity.pairs(), f"{name}: {kind}" if name else kind


def graded_vectors(embeddings: Path, captions: Path, grade: Path, specificity: float, normalize: bool) -> Vectors:
    """A file's ids with the grades of all its pairs in place of its embeddings: `scores`, float64.

    That the calibrator fits is known by width and length alone: whose embeddings these are, the file does not say.

    Raises:
        DataError: a caption of the file has no text in the table `captions`, or as `open_grade`.
        ModelError: the calibrator was fitted for embeddings of another form.
    """
    vectors, table = read_vectors(embeddings), read_captions(captions, images=False)
    ids = vectors.ids("caption")
    texts = [table.texts[row] for row in table.rows(ids, captions)]
    found = open_grade(grade)
    name = found.calibrator.model.rpartition(": ")[0]
    scorer, identity = similarities(vectors, ids, normalize, name)
    found.calibrator.check(identity, found.calibrator.idf, str(grade))
    return _with_grades(vectors, scorer, texts, found, specificity)


def graded_by(grade: Grade, vectors: Vectors, texts: Mapping[int, str], specificity: float) -> Vectors:
    """The same of embeddings that the calibrator's own model made, with the texts of its captions by id."""
    ids = vectors.ids("caption")
    scorer, _ = similarities(vectors, ids, False, "")
    return _with_grades(vectors, scorer, [texts[one] for one in ids.tolist()], grade, specificity)


def _with_grades(vectors: Vectors, scorer: Scorer, texts: list[str], grade: Grade, specificity: float) -> Vectors:
    graded = Graded(scorer, grade.calibrator, describe(texts, grade.idf), specificity)
    arrays = {key: values for key, values in vectors.arrays.items() if key.endswith("_ids")}
    arrays[SCORES] = graded.block(slice(None), slice(None), np.float64)
    return Vectors(vectors.path, arrays, vectors.assumed)
