"""`features`: features of every image and text by frozen towers, computed once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm.config import load
from itm.data.layout import IMAGE_FEATURES, TEXT_FEATURES
from itm.stages.harness import Progress, outputs, run

if TYPE_CHECKING:
    from itm.features import FeatureRows

log = logging.getLogger(__name__)


def features(
    clean: Annotated[Path, typer.Option(help="folder of the clean tables and image shards")],
    regions: Annotated[Path, typer.Option(help="folder of region features, read with regions.use")],
    out: Annotated[Path, typer.Option(help="folder for the features")],
) -> None:
    """Cache the features of frozen towers; write empty files where towers are trained."""
    parameters = load()
    from itm.features import write_features

    if not parameters.towers.frozen:
        log.info("towers are trained: there is nothing to cache")
        with outputs():
            for name in (IMAGE_FEATURES, TEXT_FEATURES):
                write_features(out / name, None)
        return
    from itm.encode import compute_features
    from itm.pipeline.devices import device as pick_device

    with pick_device(parameters.device) as device, Progress("features") as progress:
        images, texts = compute_features(
            clean,
            parameters.towers,
            parameters.encode.batch_size,
            parameters.train.threads,
            device,
            out,
            progress.update,
        )
    if parameters.regions.use:
        _use_regions(images, texts, regions, clean, parameters.regions.pooled, out)
    with outputs():
        write_features(out / IMAGE_FEATURES, images)
        write_features(out / TEXT_FEATURES, texts)


def _use_regions(
    images: FeatureRows, texts: FeatureRows, folder: Path, clean: Path, pooled: str, scratch: Path
) -> None:
    """Put the regions of `folder` in the place of the images' tokens. Both say so, since a model needs both alike."""
    import numpy as np

    from itm.data.regions import check_finite, read_regions
    from itm.data.tables import read_images
    from itm.features import TokenRows

    ids = read_images(clean, ["image_id"])["image_id"].tolist()
    found = read_regions(folder, ids)
    check_finite(found, ids)
    width = found[0].shape[1]
    images.tokens = TokenRows.join(found, width, scratch)
    if pooled == "mean":
        images.pooled = np.stack([np.asarray(each, np.float32).mean(0) for each in found])
    for each in (images, texts):
        each.towers = {**each.towers, "regions": {"width": width, "pooled": pooled}}
    log.info("regions: %d of %d images, %d wide", len(images.tokens.values), len(found), width)


if __name__ == "__main__":
    run(features)
