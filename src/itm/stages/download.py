"""`download`: one source file, generated here or fetched and verified."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from itm.stages.harness import Progress, run

log = logging.getLogger(__name__)


def download(
    file: Annotated[str, typer.Option(help="A file of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder that the file goes to.")],
    name: Annotated[str, typer.Option(help="Entry of data/catalogue.yaml; without it the present data set.")] = "",
    params: Annotated[Path, typer.Option(help="Parameters file.")] = Path("params.yaml"),
) -> None:
    """Generate a source file, or fetch it (mirror first) and verify it before it takes its name."""
    from itm.config import load
    from itm.data.catalogue import find_file, load_catalogue

    name = name or load(params).data.name
    entry = find_file(load_catalogue(), name, file)
    if name == "folder":
        from itm.data.files import atomic_path

        with atomic_path(out / file) as temporary:
            temporary.write_text("Photos of the user's own: the clean stage reads them where data.path says.\n")
        return
    if entry.generated:
        from itm.data.scenes import write_images, write_scenes

        write = write_scenes if file.endswith(".jsonl") else write_images
        with Progress(f"generating {file}"):
            write(load(params).datasets.scenes, out / file)
        log.info("%s: %d bytes, generated", file, (out / file).stat().st_size)
        return
    from itm.data.download import fetch
    from itm.data.progress import byte_bars

    with byte_bars() as report:
        found = fetch(name, file, entry, out / file, report=report)
    log.info("%s: %d bytes from %s", file, found.bytes, found.origin)


if __name__ == "__main__":
    run(download)
