"""`itm index` and `itm search`: images by text, from the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

index_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
search_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@index_app.command()
def index(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model, models/METHOD/seedN.")],
    images: Annotated[
        str, typer.Option(help="A folder of photos, a folder of clean tables, or the data set's name (data/clean).")
    ],
    out: Annotated[Path, typer.Option(help="The index file to write.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split of the tables; may be given several times.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; without it all cores.", min=1)] = None,
    backend: Annotated[
        str, typer.Option(help="Who computes frozen towers: torch, torch-bfloat16, onnxruntime.")
    ] = "torch",
) -> None:
    """Embed images with a trained model and write an index that `itm search` searches.

    Linked folders are followed. Broken photos are listed and left out; whatever else lies there is counted.
    """
    from itm.data.files import check_outputs
    from itm.data.progress import counted
    from itm.errors import printable
    from itm.index.gallery import cores, counts_text, embed_gallery, open_gallery
    from itm.index.vectors import Facts, write_index
    from itm.model import open_searchable

    check_outputs(out)
    threads = threads or cores()
    gallery = open_gallery(images, split)
    opened = open_searchable(model, threads, backend=backend)
    with counted("embed") as progress:
        rows, vectors, broken = embed_gallery(gallery, opened, threads, progress)
    for name, fault in broken:
        typer.echo(printable(f"left out: {name}: {fault}"), err=True)
    names = [gallery.names[row] for row in rows]
    facts = Facts(opened.hash, opened.name, opened.kind, gallery.source, str(model))
    with counted("index") as progress:
        write_index(out, names, vectors, facts, threads, progress)
    missing = {**gallery.left_out, **({"that cannot be read": len(broken)} if broken else {})}
    left = f"; left out: {counts_text(missing)}" if missing else ""
    typer.echo(printable(f"{out}: {len(names)} images of {gallery.source} by {opened.name}{left}"))


@search_app.command()
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for, in quotes.")],
    index: Annotated[Path, typer.Option(help="A file that `itm index` wrote.")],
    model: Annotated[
        Path | None, typer.Option(help="Folder of the model; without it the one that the index was made with.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--top", help="How many images to print.", min=1)] = 10,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every image; slower, misses none.")] = False,
    specificity: Annotated[
        float | None,
        typer.Option(help="Print grades: 0 = is the text true of it? 1 = how much does it say of it? docs/grade.md."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Who computes frozen towers: torch, torch-bfloat16, onnxruntime.")
    ] = "torch",
) -> None:
    """Print the images that match a text best: rank, similarity (inner product), name.

    With --specificity: rank, grade, probability that the text is true of the image, name.
    """
    from itm.errors import printable
    from itm.grading.files import grade_of
    from itm.grading.texts import describe
    from itm.index.vectors import open_index
    from itm.model import open_searchable

    found = open_index(index)
    folder = model or Path(found.facts.folder)
    if not folder.is_dir():
        raise_missing(folder, index)
    opened = open_searchable(folder, backend=backend)
    found.facts.check_model(opened.hash, str(index))
    grade = None if specificity is None else grade_of(folder, opened.hash)
    (query,) = opened.encode_texts([text]).vectors
    rows, similarities = found.search(query, k, exact)
    shown = [f"{similarity:7.4f}" for similarity in similarities.tolist()]
    if grade is not None and specificity is not None:
        d = describe([text], grade.idf)
        grades = grade.calibrator.grade(similarities, d, specificity).tolist()
        chances = grade.calibrator.probability(similarities, d).tolist()
        shown = [f"{each:7.3f}  {chance:6.1%}" for each, chance in zip(grades, chances, strict=True)]
    for rank, (row, value) in enumerate(zip(rows.tolist(), shown, strict=True), start=1):
        typer.echo(f"{rank:>4}  {value}  {printable(found.names[row])}")


def raise_missing(folder: Path, index: Path) -> None:
    """Say that the model of an index is not where it was."""
    from itm.errors import ModelError

    raise ModelError(
        f"{folder}: no such folder; {index} was made with the model that lay there: say where it is with --model",
        reason="missing-model",
    )
