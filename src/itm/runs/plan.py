"""What a set of parameters would run, fetch and take, with how each figure was come by; "unknown" where it was not.

Counts come from dvc.yaml, sizes of downloads from data/catalogue.yaml, numbers of images from the published splits,
sizes of arrays from their shapes, numbers of parameters from models that are built (with random weights) and thrown
away. Nothing is known beforehand of the memory that activations take and of the time a step takes on a GPU: times are
told only where this machine has run such stages before.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itm.config import Parameters
from itm.data.catalogue import SourceFile, load_catalogue
from itm.data.schemas.protocols import PROTOCOLS
from itm.errors import ModelError
from itm.runs.expected import DIFFERENCES, expected, setting
from itm.runs.provenance import Stages

UNKNOWN = "unknown"
CAPTIONS_AN_IMAGE = 5
REGIONS, REGION_WIDTH = 36, 2048


@dataclass(frozen=True)
class Line:
    """One figure. value: None where it is unknown; basis: how it was come by, or why it is unknown."""

    name: str
    value: float | None
    basis: str
    unit: str = "bytes"

    @property
    def shown(self) -> str:
        """The value as printed."""
        from itm.runs.commands import size_text

        if self.unit == "":
            return ""
        if self.value is None:
            return UNKNOWN
        if self.unit == "bytes":
            return size_text(self.value)
        if self.unit == "seconds":
            return f"{self.value / 3600:.1f} h" if self.value >= 3600 else f"{self.value:.0f} s"
        return f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:g}"


@dataclass
class Plan:
    """All lines, by section."""

    preset: str
    parts: dict[str, list[Line]] = field(default_factory=dict)

    def sections(self) -> Iterator[tuple[str, list[Line]]]:
        """Titles with their lines; empty sections are left out."""
        yield from ((title, lines) for title, lines in self.parts.items() if lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "preset": self.preset,
            "sections": {
                title: [{"name": x.name, "value": x.value, "unit": x.unit, "basis": x.basis} for x in lines]
                for title, lines in self.sections()
            },
        }


@dataclass(frozen=True)
class _Models:
    """Numbers of parameters, and the widths of what towers give. error: why they are unknown."""

    towers: int | None
    heads: dict[str, int]
    widths: tuple[int, int, int, int] | None
    image_tokens: int | None
    error: str = ""


def make_plan(root: Path, preset: str, parameters: Parameters) -> Plan:
    """The plan of parameters that `preset` composed to. Reads; writes and fetches nothing."""
    models = _count_parameters(parameters)
    images = _images(parameters)
    downloads = list(_downloads(root, parameters))
    return Plan(
        preset,
        {
            "Stages": list(_stages(root, parameters)),
            "Downloads": downloads,
            "Disk": list(_disk(parameters, models, images, downloads)),
            "Memory of the GPU, or of the CPU without one": list(_memory(parameters, models)),
            "Time": list(_time(root, parameters, images)),
            "Published figures to compare with (RSUM)": list(_published(parameters)),
        },
    )


def _stages(root: Path, parameters: Parameters) -> Iterator[Line]:
    stages = Stages(root, parameters.model_dump(mode="json"))
    total = 0
    for name in stages.names:
        count = sum(1 for _ in stages.jobs(name))
        total += count
        yield Line(name, count, "" if count == 1 else "jobs of the matrix in dvc.yaml", "jobs")
    yield Line("in all", total, "those that DVC has in its cache are not run", "jobs")


def _downloads(root: Path, parameters: Parameters) -> Iterator[Line]:
    name = parameters.data.name
    files = load_catalogue(root / "data/catalogue.yaml")[name].files
    mirror = Path(os.environ["ITM_MIRROR"]) if os.environ.get("ITM_MIRROR") else None
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
        rows = _images(parameters)
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


def _images(parameters: Parameters) -> int | None:
    """Images of all splits and benchmarks' photos."""
    found = _split_sizes(parameters)
    return None if found is None else sum(found.values())


def _split_sizes(parameters: Parameters) -> dict[str, int] | None:
    name = parameters.data.name
    options = getattr(parameters.datasets, name)
    if name == "scenes":
        return {split: getattr(options, f"{split}_images") for split in ("train", "dev", "test")}
    protocol = PROTOCOLS.get(f"{name}-{options.subset if name == 'flickr8k' else options.captions}")
    if protocol is None:
        return None
    found = {split: each.images for split, each in protocol.items()}
    if not any(file.startswith("hierarcaps") for file in parameters.data.files):
        found.pop("hierarcaps", None)
    return found


def _disk(parameters: Parameters, models: _Models, images: int | None, downloads: list[Line]) -> Iterator[Line]:
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


def _arrays(parameters: Parameters, models: _Models, images: int | None, runs: int) -> Iterator[Line]:
    sizes = _split_sizes(parameters)
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


def _memory(parameters: Parameters, models: _Models) -> Iterator[Line]:
    if models.towers is None:
        yield Line("parameters", None, models.error)
        return
    trained = 0 if parameters.towers.frozen else models.towers
    largest = max(parameters.methods, key=lambda method: models.heads[method])
    count = trained + models.heads[largest]
    yield Line("parameters trained", count, f"{largest}, counted on the model with random weights", "count")
    yield Line(
        "weights and AdamW", 16 * count, "formula: 4 numbers of 4 bytes a parameter (weight, gradient, two moments)"
    )
    batch = f"{parameters.train.batch_images} images x {parameters.train.captions_per_image} captions"
    yield Line(
        "activations",
        None,
        f"grow with the batch ({batch}); train.chunk_images and train.gradient_checkpointing bound them",
    )


def _time(root: Path, parameters: Parameters, images: int | None) -> Iterator[Line]:
    train = (_split_sizes(parameters) or {}).get("train")
    if train is not None:
        steps = parameters.train.epochs * (train // parameters.train.batch_images)
        basis = f"{parameters.train.epochs} epochs of {train:,} images in batches of {parameters.train.batch_images}"
        yield Line("steps of a training", steps, basis, "count")
    measured = _measured(root)
    for stage in ("train", "encode", "evaluate"):
        seconds = measured.get(stage)
        if seconds:
            mean = sum(seconds) / len(seconds)
            basis = f"mean of {len(seconds)} jobs that Snakemake ran here, with the parameters of then"
            yield Line(f"one job of {stage}", mean, basis, "seconds")
        else:
            why = "no such job was timed here; train.epochs=1 tells"
            yield Line(f"one job of {stage}", None, why, "seconds")


def _measured(root: Path) -> dict[str, list[float]]:
    """Seconds of jobs by stage, from the files that Snakemake writes."""
    found: dict[str, list[float]] = {}
    for path in sorted((root / "logs").glob("*/**/*.tsv")):
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                seconds = [float(row["s"]) for row in csv.DictReader(lines, delimiter="\t")]
        except (KeyError, ValueError, TypeError, UnicodeDecodeError):
            continue
        found.setdefault(path.relative_to(root / "logs").parts[0], []).extend(seconds)
    return found


def _published(parameters: Parameters) -> Iterator[Line]:
    kind = setting(parameters)
    if not kind:
        return
    for method, row in expected(parameters).items():
        if row is None:
            yield Line(method, None, "nothing is published for this method in this setting", "rsum")
            continue
        rsums = {key: value for key, value in row.values.items() if key.endswith("/rsum")}
        for key, value in rsums.items():
            yield Line(method, value, f"{key.split('/')[0]}, {row.model}; quoted from {row.source}", "rsum")
    yield Line("note", None, f"not the same conditions: {DIFFERENCES[kind]}", "")


def _count_parameters(parameters: Parameters) -> _Models:
    """Build towers and methods with random weights, and count. Takes seconds, and torch."""
    import logging

    from itm.methods.build import build_method
    from itm.methods.interface import Widths
    from itm.towers.build import build_towers

    # a hub's weights need not be fetched to be counted
    towers_parameters = parameters.towers.model_copy(update={"open_clip_weights": ""})
    logging.disable(logging.WARNING)  # open_clip warns of weights that were not asked for
    try:
        towers = build_towers(towers_parameters, ["a"])
    except ModelError as error:
        return _Models(None, {}, None, None, f"the towers cannot be built here: {error}")
    finally:
        logging.disable(logging.NOTSET)
    widths = (towers.image_width, towers.text_width, towers.image_token_width, towers.text_token_width)
    given = (widths[0], widths[1], REGION_WIDTH if parameters.regions.use else widths[2], widths[3])
    heads = {}
    for name in parameters.methods:
        options = parameters.method[name]
        added = options.add.descriptions
        side, prototypes = (0, 0) if added is None else (parameters.embedding.dimension, max(added.prototypes, 2))
        method = build_method(options, parameters.embedding, Widths(*given, side=side, prototypes=prototypes))
        heads[name] = sum(each.numel() for each in method.parameters() if each.requires_grad)
    return _Models(sum(each.numel() for each in towers.parameters()), heads, widths, _image_tokens(towers))


def _image_tokens(towers: Any) -> int | None:
    import torch

    with torch.no_grad():
        side = towers.image_size
        tokens = towers.eval().image(torch.zeros(1, 3, side, side)).tokens
    return None if tokens is None else int(tokens.shape[1])
