"""`itm import`: what others computed, as files of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="import",
    help="What others computed, as files of this project.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _import() -> None:
    """What others computed, as files of this project."""


@app.command("vsd-arrays")
def vsd_arrays(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the authors' arrays (train_caps.txt, *_aux_cap_*.npy ...).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for descriptions.jsonl and the vectors.")],
    clean: Annotated[Path, typer.Option(help="Folder of the clean tables.")] = Path("data/clean"),
    variant: Annotated[str, typer.Option(help="Part of the arrays' names, where there are several: cpm, flor.")] = "",
    an_image: Annotated[int, typer.Option(help="Captions of an image in the arrays.", min=1)] = 5,
    condition: Annotated[
        str, typer.Option(help="What training descriptions were written from, if not from the image's own captions.")
    ] = "",
) -> None:
    """Turn the arrays that the authors of VSD published into descriptions.

    Then set describe.captioner=file describe.file=OUT/descriptions.jsonl describe.encoder=file.
    """
    from itm.data.tables import read_captions
    from itm.descriptions.arrays import import_arrays

    found = import_arrays(folder, read_captions(clean), out, variant, an_image, condition)
    for split, count in found.images.items():
        typer.echo(f"{split}: {count} images, {found.missing[split]} of the tables are without")
    typer.echo(f"vectors of width {found.width}; {found.captions} captions have one of their own")
    if any(found.missing.values()):
        typer.echo("set describe.missing to 'zero' for the images without")
