"""Sizes on disk, of arrays by their shapes."""

from __future__ import annotations

from collections.abc import Iterator

from itm.config import Parameters
from itm.runs.plan.data import REGIONS, split_sizes
from itm.runs.plan.lines import Line
from itm.runs.plan.models import REGION_WIDTH, Models

CAPTIONS_AN_IMAGE = 5


def disk(parameters: Parameters, models: Models, images: int | None, downloads: list[Line]) -> Iterator[Line]:
    """What the pipeline leaves on disk, folder by folder."""
    runs = len(parameters.methods) * len(parameters.seeds)
    lines = [*_arrays(parameters, models, images, runs)]
    raw = next(line for line in downloads if line.name == "still to fetch")
    yield Line("data/raw", raw.value, "the downloads, and what is in data/raw or the mirror already")
    yield Line("data/clean", None, "the photos once more, in tars: about the size of their archives")
    yield from lines
    yield Line("evaluations, logs", None, "per-query values: small beside the embeddings")
    yield Line(
        "DVC's cache",
        None,
        "as much again where the file system has no reflinks and cache.type is not hardlink or symlink; and every "
        "result of other parameters (`itm du`)",
    )


def _arrays(parameters: Parameters, models: Models, images: int | None, runs: int) -> Iterator[Line]:
    sizes = split_sizes(parameters)
    if not parameters.towers.frozen:
        yield Line("data/features", 0, "towers are trained: nothing is cached")
    elif images is None or models.widths is None:
        yield Line("data/features", None, models.error or "the number of images is unknown")
    else:
        image, text, image_token, text_token = models.widths
        texts = images * CAPTIONS_AN_IMAGE
        size = 4 * (images * image + texts * text)
        basis = f"{images:,} images x {image} and about {texts:,} texts x {text}, float32"
        if parameters.towers.tokens:
            tokens = REGIONS if parameters.regions.use else models.image_tokens
            width = REGION_WIDTH if parameters.regions.use else image_token
            longest = parameters.towers.context_length
            if tokens is None:
                yield Line("data/features", None, "the number of an image's tokens is unknown")
                return
            size += 2 * (images * tokens * width + texts * longest * text_token)
            basis += f"; tokens {tokens} x {width} and at most {longest} x {text_token}, float16"
        yield Line("data/features", size, basis)
    if models.towers is None:
        yield Line("models", None, models.error)
    else:
        trained = 0 if parameters.towers.frozen else models.towers
        size = 4 * len(parameters.seeds) * sum(trained + models.heads[method] for method in parameters.methods)
        yield Line("models", size, f"{runs} runs, float32, heads{'' if parameters.towers.frozen else ' and towers'}")
    if sizes is None:
        yield Line("embeddings", None, "the number of images is unknown")
        return
    shown = sum(
        size for split, size in sizes.items() if split not in {"train", "dev", "test"} - {parameters.encode.split}
    )
    rows = shown * (1 + CAPTIONS_AN_IMAGE)
    width = parameters.embedding.dimension
    basis = f"{runs} runs x about {rows:,} rows x {width} float32 at least (some methods' vectors are wider)"
    pairwise = [name for name in parameters.methods if parameters.method[name].similarity.type == "esl_token"]
    size = 4 * runs * rows * width
    if pairwise:
        pairs = sizes[parameters.encode.split] ** 2 * CAPTIONS_AN_IMAGE
        size += 4 * pairs * len(pairwise) * len(parameters.seeds)
        basis += f"; scores of {pairs:,} pairs for {', '.join(pairwise)}"
    yield Line("embeddings", size, basis)
