"""`itm grade`: fit a calibrator to anybody's embeddings, and apply it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters
    from itm.vectors import Vectors

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="How likely a caption is true of an image, and how much it says, from embeddings of any model.",
)

Embeddings = Annotated[
    Path, typer.Option(help="Embeddings (or scores) with ids, as `itm evaluate` reads them; docs/metrics.md.")
]
Normalize = Annotated[bool, typer.Option(help="Scale embeddings to unit length first.")]
Model = Annotated[
    str, typer.Option(help="A name for what made the embeddings. A calibrator refuses another's.", metavar="NAME")
]


@app.command()
def fit(
    embeddings: Embeddings,
    captions: Annotated[Path, typer.Option(help="CSV with the columns caption_id, image_id, text.")],
    out: Annotated[Path, typer.Option(help="The calibrator to write, JSON.")],
    idf: Annotated[
        Path | None,
        typer.Option(help="Idf table of the score stage; without it one is made of the captions and written beside."),
    ] = None,
    params: Annotated[
        Path, typer.Option(help="Parameters file; where no --idf is given, its section `score` counts.")
    ] = Path("params.yaml"),
    normalize: Normalize = False,
    model: Model = "",
    anchor: Annotated[
        float, typer.Option(help="Quantile of own similarities at which a caption counts as certainly true.")
    ] = 0.9,
    seed: Annotated[int, typer.Option(help="Seed of the sample of pairs.", min=0)] = 0,
) -> None:
    """Fit a calibrator on images and their captions: dev data, never what is reported."""
    from itm.data.files import check_outputs, together
    from itm.grading.files import beside, similarities
    from itm.grading.fit import fit_calibrator
    from itm.grading.texts import describe, fit_idf, idf_hash, read_captions
    from itm.text.tables import read_idf, write_idf
    from itm.vectors import read_vectors

    check_outputs(out, beside(out) if idf is None else None)
    table = read_captions(captions, images=True)
    vectors = read_vectors(embeddings)
    words = read_idf(idf) if idf is not None else fit_idf(table, _score_parameters(params))
    d = describe(table.texts, words)
    scorer, identity = similarities(vectors, table.caption_ids, normalize, model)
    _note(vectors)
    assert table.image_ids is not None
    owners = vectors.places("image", table.image_ids)
    found = fit_calibrator(scorer, owners, d, model=identity, idf=idf_hash(words), anchor=anchor, seed=seed)
    typer.echo(f"{out}: fitted on {found.facts['captions']} captions of {found.facts['images']} images")
    typer.echo("descriptiveness: share of images that such a caption fits")
    for knot, share in zip(found.knots.tolist(), found.prior(found.knots).tolist(), strict=True):
        typer.echo(f"{knot:15.2f}: {share:.2%}")
    with together():
        if idf is None:
            write_idf(beside(out), words, words.words)
            typer.echo(f"{beside(out)}: idf of {len(words.words)} words of these captions")
        found.save(out)


@app.command()
def apply(
    grade: Annotated[Path, typer.Option(help="A calibrator that `itm grade fit` wrote.")],
    embeddings: Embeddings,
    captions: Annotated[Path, typer.Option(help="CSV with the columns caption_id, text.")],
    out: Annotated[Path, typer.Option(help="The CSV to write.")],
    pairs: Annotated[
        Path | None, typer.Option(help="CSV with the columns image_id, caption_id: grade these pairs.")
    ] = None,
    top: Annotated[int, typer.Option(help="Without --pairs: the best captions of each image, this many.", min=1)] = 5,
    specificity: Annotated[
        float, typer.Option(help="0 = what is true; 1 = what says most about the image; more = the most specific.")
    ] = 0.0,
    idf: Annotated[
        Path | None, typer.Option(help="The idf table of the fit; without it the one beside the calibrator.")
    ] = None,
    normalize: Normalize = False,
    model: Model = "",
) -> None:
    """Write probabilities and grades of pairs, or of each image's best captions.

    Columns: image_id, caption_id, similarity; probability that the caption is true; grade = log probability -
    specificity x log prior; fits = how many of the file's images the caption is expected to fit.
    """
    import numpy as np

    from itm.data.files import atomic_path, check_outputs
    from itm.grading.files import open_grade, similarities
    from itm.grading.scorer import Graded
    from itm.grading.texts import describe, read_captions, read_pairs
    from itm.metrics.top import top_items
    from itm.vectors import read_vectors

    check_outputs(out)
    found, words = open_grade(grade, idf=idf)
    table = read_captions(captions, images=False)
    vectors = read_vectors(embeddings)
    scorer, identity = similarities(vectors, table.caption_ids, normalize, model)
    _note(vectors)
    found.check(identity, found.idf, str(grade))
    d = describe(table.texts, words)
    graded = Graded(scorer, found, d, specificity)
    image_ids = vectors.ids("image")
    if pairs is not None:
        image, caption = read_pairs(pairs)
        rows = vectors.places("image", image)
        columns = table.rows(caption, pairs)
    else:
        lists = top_items(graded, min(top, scorer.shape[1]))
        rows, columns = np.repeat(np.arange(len(lists)), lists.shape[1]), lists.reshape(-1)
    s = scorer.exact(rows, columns)
    fits = graded.multiplicity()
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image_id", "caption_id", "similarity", "probability", "grade", "fits"])
        for line in zip(
            image_ids[rows].tolist(),
            table.caption_ids[columns].tolist(),
            s.tolist(),
            found.probability(s, d[columns]).tolist(),
            found.grade(s, d[columns], specificity).tolist(),
            fits[columns].tolist(),
            strict=True,
        ):
            writer.writerow([*line[:2], *(f"{value:.6g}" for value in line[2:])])
    typer.echo(f"{out}: {len(rows)} pairs of {scorer.shape[0]} images and {scorer.shape[1]} captions")


def _score_parameters(path: Path) -> ScoreParameters:
    from itm.config import load

    return load(path).score


def _note(vectors: Vectors) -> None:
    """Print what the file did not say and was assumed."""
    for sentence in vectors.assumed:
        typer.echo(f"note: {sentence}", err=True)
