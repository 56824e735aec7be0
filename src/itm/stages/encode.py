"""`encode`: a trained model's embeddings of the evaluation images and texts, and of those of dev."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itm.config import load
from itm.stages.harness import Progress, outputs, run


def encode(
    method: Annotated[str, typer.Option(help="entry of `method` in params.yaml")],
    seed: Annotated[int, typer.Option(help="training seed")],
    model: Annotated[Path, typer.Option(help="folder of the trained model")],
    clean: Annotated[Path, typer.Option(help="folder of the clean tables")],
    features: Annotated[Path, typer.Option(help="folder of the cached features")],
    descriptions: Annotated[Path, typer.Option(help="folder of the descriptions for this method")],
    out: Annotated[Path, typer.Option(help="folder for the embeddings")],
) -> None:
    """Embed the evaluation split, other benchmarks' photos, and all texts that are evaluated; and dev by itself."""
    parameters = load()
    from itm.data.layout import DEV_EMBEDDINGS, EMBEDDINGS
    from itm.encode import encode_split
    from itm.pipeline.devices import device as pick_device
    from itm.vectors.pipeline import write_embeddings

    splits = {EMBEDDINGS: parameters.encode.split, DEV_EMBEDDINGS: "dev"}
    with pick_device(parameters.device) as device, Progress(f"encode {method} seed {seed}") as progress:
        found = {
            name: encode_split(
                model,
                clean,
                features,
                descriptions,
                parameters.encode.model_copy(update={"split": split}),
                parameters.train.threads,
                device,
                progress.update,
                alone=name == DEV_EMBEDDINGS,
            )
            for name, split in splits.items()
        }
    with outputs():
        for name, embeddings in found.items():
            write_embeddings(out / name, embeddings)


if __name__ == "__main__":
    run(encode)
