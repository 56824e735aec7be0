"""`describe`: descriptions of the images and their vectors, for a method that adds them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from itm.config import load
from itm.data.layout import COVERAGE, DESCRIPTION_VECTORS, DESCRIPTIONS
from itm.stages.harness import Progress, outputs, run

log = logging.getLogger(__name__)


def describe(
    method: Annotated[str, typer.Option(help="entry of `method` in params.yaml")],
    clean: Annotated[Path, typer.Option(help="folder of the clean tables and image shards")],
    features: Annotated[Path, typer.Option(help="folder of the cached features")],
    out: Annotated[Path, typer.Option(help="folder for the descriptions")],
) -> None:
    """Describe every image and make vectors of the descriptions; write empty files for a method without need."""
    parameters = load()
    from itm.data.files import atomic_path, write_json
    from itm.descriptions.vectors import write_description_vectors

    wanted = parameters.entry(method).add.descriptions
    if wanted is None:
        log.info("%s adds no descriptions: there is nothing to write", method)
        with outputs():
            with atomic_path(out / DESCRIPTIONS) as temporary:
                temporary.touch()
            write_description_vectors(out / DESCRIPTION_VECTORS, None)
            write_json(out / COVERAGE, {})
        return
    from itm.descriptions.records import write_descriptions
    from itm.descriptions.run import Tables, coverage_of, describe_images, vectors_of
    from itm.pipeline.devices import device as pick_device

    options, towers = parameters.describe, parameters.towers
    tables = Tables.read(clean, features)
    with pick_device(parameters.device) as device, Progress(f"describe for {method}") as progress:
        import torch

        torch.set_num_threads(parameters.train.threads)
        descriptions, usage = describe_images(tables, options, towers, device, progress.update)
        vectors = vectors_of(tables, descriptions, options, wanted, towers, device, progress.update)
    coverage = coverage_of(tables, descriptions, vectors, usage)
    with outputs():
        write_descriptions(out / DESCRIPTIONS, descriptions)
        write_description_vectors(out / DESCRIPTION_VECTORS, vectors)
        write_json(out / COVERAGE, coverage)
    for split, facts in coverage["coverage"].items():
        log.info("%s: %d of %d images have a description", split, facts["described"], facts["images"])


if __name__ == "__main__":
    run(describe)
