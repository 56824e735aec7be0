"""`clean`: source files -> checked tables and image shards, and a report of what was found."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from itm.stages.harness import Progress, outputs, run

log = logging.getLogger(__name__)


def clean(
    raw: Annotated[Path, typer.Option(help="Folder of the source files.")],
    out: Annotated[Path, typer.Option(help="Folder for the clean tables and image shards.")],
    quality: Annotated[Path, typer.Option(help="Quality report (JSON) to write.")],
) -> None:
    """Read, normalise, verify, pack and check the data set that params.yaml names."""
    from itm.config import load
    from itm.data.clean.run import clean_data_set

    with outputs(), Progress("images") as progress:
        clean_data_set(load(), raw, out, quality, progress.update)


if __name__ == "__main__":
    run(clean)
