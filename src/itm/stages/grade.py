"""`grade`: the calibrator of a model's similarities, fitted on the dev split."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Annotated

import typer

from itm.config import load
from itm.stages.harness import outputs, run

NO_GRADE = frozenset({"collapsed", "no-better-than-chance", "not-finite", "too-few"})
"""Reasons why similarities cannot be calibrated: a property of the model or of the data, and no fault of the run."""


def grade(
    method: Annotated[str, typer.Option(help="entry of `method` in params.yaml")],
    seed: Annotated[int, typer.Option(help="training seed")],
    model: Annotated[Path, typer.Option(help="folder of the trained model")],
    clean: Annotated[Path, typer.Option(help="folder of the clean tables")],
    scored: Annotated[Path, typer.Option(help="folder of the scored captions")],
    embeddings: Annotated[Path, typer.Option(help="folder of the embeddings")],
    out: Annotated[Path, typer.Option(help="folder for the calibrator and its idf table")],
) -> None:
    """Fit the calibrator on dev images and their captions, and write it with the idf table behind it."""
    parameters = load()
    from itm.data.files import atomic_path
    from itm.data.layout import DEV_EMBEDDINGS, GRADE, GRADE_IDF, IDF
    from itm.errors import DataError
    from itm.evaluation.tables import Tables
    from itm.grading.calibrator import write_no_grade
    from itm.grading.fit import fit_calibrator
    from itm.grading.texts import idf_hash
    from itm.text.tables import read_idf
    from itm.vectors.pipeline import model_hash, read_embeddings

    found, tables = read_embeddings(embeddings, DEV_EMBEDDINGS), Tables(clean, scored, "dev")
    idf = idf_hash(read_idf(scored / IDF))
    fitted, why = None, "encode.shortlist leaves most pairs without a score; set it to 0 and run `dvc repro grade`"
    if "shortlist" not in found.protocol:
        try:
            fitted = fit_calibrator(
                found.scorer(tables.images["image_id"], tables.captions["row"]),
                tables.owners,
                tables.descriptiveness,
                model=model_hash(model),
                idf=idf,
                anchor=parameters.grade.anchor,
            )
        except DataError as error:
            if error.reason not in NO_GRADE:
                raise
            why = str(error)
    with outputs():
        with atomic_path(out / GRADE_IDF) as temporary:
            shutil.copyfile(scored / IDF, temporary)
        if fitted is not None:
            fitted.save(out / GRADE)
        else:
            logging.getLogger(__name__).warning("%s seed %d has no grade: %s", method, seed, why)
            write_no_grade(out / GRADE, why)


if __name__ == "__main__":
    run(grade)
