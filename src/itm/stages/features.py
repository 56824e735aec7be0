"""`features`: what frozen towers say of every image and text, computed once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from itm.config import load
from itm.data.layout import IMAGE_FEATURES, TEXT_FEATURES
from itm.stages.harness import Progress, run

log = logging.getLogger(__name__)


def features(
    clean: Annotated[Path, typer.Option(help="folder of the clean tables and image shards")],
    out: Annotated[Path, typer.Option(help="folder for the features")],
) -> None:
    """Cache the features of frozen towers; write empty files where towers are trained."""
    parameters = load()
    from itm.features import write_features

    if not parameters.towers.frozen:
        log.info("towers are trained: there is nothing to cache")
        for name in (IMAGE_FEATURES, TEXT_FEATURES):
            write_features(out / name, None)
        return
    from itm.encode import compute_features
    from itm.orchestration.devices import device as pick_device

    with pick_device(parameters.device) as device, Progress("features") as progress:
        images, texts = compute_features(
            clean,
            parameters.towers,
            parameters.encode.batch_size,
            parameters.train.threads,
            device,
            progress.update,
        )
    write_features(out / IMAGE_FEATURES, images)
    write_features(out / TEXT_FEATURES, texts)


if __name__ == "__main__":
    run(features)
