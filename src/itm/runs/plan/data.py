"""Numbers of images, and downloads still to come: from the published splits and data/catalogue.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from itm.config import Parameters
from itm.data.catalogue import SourceFile, load_catalogue
from itm.data.files import mirror_folder
from itm.data.schemas.protocols import PROTOCOLS
from itm.runs.plan.lines import Line
from itm.runs.plan.models import REGION_WIDTH, Models

REGIONS = 36
"""Regions of an image in BUTD's published features."""


def downloads_of(root: Path, parameters: Parameters) -> Iterator[Line]:
    """The source files, weights and region features, with what is still to fetch of them."""
    name = parameters.data.name
    files = load_catalogue(root / "data/catalogue.yaml")[name].files
    mirror = mirror_folder()
    known, unknown = 0, 0
    for file in parameters.data.files:
        entry = files.get(file)
        if entry is None:
            yield Line(file, None, "not in data/catalogue.yaml")
            unknown += 1
            continue
        line = _download(root / "data/raw" / name / file, file, entry, mirror)
        if line.value is None:
            unknown += 1
        else:
            known += int(line.value)
        yield line
    rest = f"and {unknown} files of unknown size" if unknown else ""
    yield Line("still to fetch", known if known or not unknown else None, rest)
    towers = parameters.towers
    if towers.kind == "open_clip" and towers.open_clip_weights and not Path(towers.open_clip_weights).is_file():
        basis = f"{towers.open_clip_weights} of {towers.open_clip_model}, from a hub unless its cache has them"
        yield Line("weights of the towers", None, f"{basis}; their size is not in the catalogue")
    if parameters.regions.use:
        folder = root / "data/regions"
        found = [path for each in ("*_ims.npy", "*.npz") for path in folder.glob(each)]
        basis = f"{len(found)} files are there" if found else "yours to supply: data/regions/README.md"
        rows = all_images(parameters)
        size = None if rows is None else rows * REGIONS * REGION_WIDTH * 4
        yield Line("region features", size, f"{REGIONS} x {REGION_WIDTH} float32 an image, if they are BUTD's; {basis}")


def _download(path: Path, name: str, entry: SourceFile, mirror: Path | None) -> Line:
    if entry.generated:
        return Line(name, 0, "generated here")
    if path.is_file():
        return Line(name, 0, "is in data/raw")
    for copy in entry.mirror if mirror else ():
        if (mirror / copy.path).is_file():  # type: ignore[operator]
            return Line(name, 0, "is in the mirror (ITM_MIRROR)")
    if entry.manual:
        return Line(name, entry.bytes, f"by hand: {entry.manual}")
    if entry.bytes is None:
        return Line(name, None, "nobody has published its size")
    return Line(name, entry.bytes, "data/catalogue.yaml")


def all_images(parameters: Parameters) -> int | None:
    """Images of all splits and benchmarks' photos."""
    found = split_sizes(parameters)
    return None if found is None else sum(found.values())


def split_sizes(parameters: Parameters) -> dict[str, int] | None:
    """Images by split, as generated or published; None where that is not known."""
    name = parameters.data.name
    options = getattr(parameters.datasets, name)
    if name == "scenes":
        return {split: getattr(options, f"{split}_images") for split in ("train", "dev", "test")}
    protocol = PROTOCOLS.get(f"{name}-{options.subset if name == 'flickr8k' else getattr(options, 'captions', '')}")
    if protocol is None:
        return None
    found = {split: each.images for split, each in protocol.items()}
    if not any(file.startswith("hierarcaps") for file in parameters.data.files):
        found.pop("hierarcaps", None)
    return found


CAPTIONS_AN_IMAGE = 5


def disk(
    parameters: Parameters, models: Models, images: int | None, downloads: list[Line], tables: Iterable[Line]
) -> Iterator[Line]:
    """What the pipeline leaves on disk, folder by folder; `tables`: the folders of clean and score."""
    runs = len(parameters.methods) * len(parameters.seeds)
    lines = [*_arrays(parameters, models, images, runs)]
    raw = next(line for line in downloads if line.name == "still to fetch")
    yield Line("data/raw", raw.value, "the downloads, and what is in data/raw or the mirror already")
    yield from tables
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
    texts = None if images is None else images * CAPTIONS_AN_IMAGE
    yield Line("data/features", *features_size(parameters, models, images, texts))
    if models.towers is None:
        yield Line("models", None, models.error)
    else:
        trained = 0 if parameters.towers.frozen else models.towers
        size = 4 * len(parameters.seeds) * sum(trained + models.heads[method] for method in parameters.methods)
        yield Line("models", size, f"{runs} runs, float32, heads{'' if parameters.towers.frozen else ' and towers'}")
    if sizes is None:
        yield Line("embeddings", None, "the number of images is unknown")
        return
    evaluated = parameters.encode.split
    # dev by itself as well, for the grade
    shown = sizes.get("dev", 0) + sum(
        size for split, size in sizes.items() if split not in {"train", "dev", "test"} - {evaluated}
    )
    rows = shown * (1 + CAPTIONS_AN_IMAGE)
    width = parameters.embedding.dimension
    basis = f"{runs} runs x about {rows:,} rows x {width} float32 at least (some methods' vectors are wider)"
    pairwise = [name for name in parameters.methods if parameters.method[name].similarity.type == "esl_token"]
    size = 4 * runs * rows * width
    if pairwise:
        pairs = (sizes[evaluated] ** 2 + sizes.get("dev", 0) ** 2) * CAPTIONS_AN_IMAGE
        size += 4 * pairs * len(pairwise) * len(parameters.seeds)
        basis += f"; scores of {pairs:,} pairs for {', '.join(pairwise)}"
    yield Line("embeddings", size, basis)


def features_size(
    parameters: Parameters, models: Models, images: int | None, texts: int | None
) -> tuple[int | None, str]:
    """Bytes of the cached features, None where they cannot be known, and how the figure was come by."""
    if not parameters.towers.frozen:
        return 0, "towers are trained: nothing is cached"
    if images is None or texts is None or models.widths is None:
        return None, models.error or "the number of images is unknown"
    image, text, image_token, text_token = models.widths
    size = 4 * (images * image + texts * text)
    basis = f"{images:,} images x {image} and about {texts:,} texts x {text}, float32"
    if parameters.towers.tokens:
        tokens = REGIONS if parameters.regions.use else models.image_tokens
        width = REGION_WIDTH if parameters.regions.use else image_token
        longest = parameters.towers.context_length
        if tokens is None:
            return None, "the number of an image's tokens is unknown"
        size += 2 * (images * tokens * width + texts * longest * text_token)
        basis += f"; tokens {tokens} x {width} and at most {longest} x {text_token}, float16"
        basis += " (twice that while the stage runs)"
    return size, basis


def host_memory(parameters: Parameters, models: Models, images: int | None) -> Iterator[Line]:
    """What trainings that run side by side hold of frozen towers' features: some each, some of it once for all."""
    if not parameters.towers.frozen or images is None or models.widths is None:
        return
    image, text, image_token, _ = models.widths
    texts = images * CAPTIONS_AN_IMAGE
    pooled = 4 * (images * image + texts * text)
    yield Line("features of a training", pooled, "whole images and texts, float32, read by each process")
    if parameters.towers.tokens:
        count = REGIONS if parameters.regions.use else models.image_tokens
        width = REGION_WIDTH if parameters.regions.use else image_token
        tokens = None if count is None else 2 * images * count * width
        why = (
            "images' tokens, float16, mapped: one copy for all trainings, less where memory is short (and slower then)"
        )
        yield Line("tokens of all trainings", tokens, why)
