"""The plan of a set of parameters: runs, downloads and sizes, each with its basis; "unknown" where there is none.

Counts come from dvc.yaml, sizes of downloads from data/catalogue.yaml, numbers of images from the published splits,
sizes of arrays from their shapes, numbers of parameters from models that are built (with random weights) and thrown
away. Nothing is known beforehand of the memory that activations take and of the time a step takes on a GPU: times are
told only where this machine has run such stages before.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from itm.config import Parameters
from itm.evaluation.published.quoted import QUOTED, Quoted
from itm.pipeline.stages import Stages
from itm.runs.plan.data import all_images, disk, downloads_of, split_sizes
from itm.runs.plan.lines import Line, Plan
from itm.runs.plan.models import count_parameters, memory

REGIONS = {
    "esl-token": "ESL-H, BUTD regions + BERT",
    "esl-token-adaptive": "ESL-A, BUTD regions + BERT",
    "vse-inf": "VSE-infinity (GPO), BUTD regions + BERT",
    "vse-inf-vsd": "VSD on GPO, BUTD regions + BERT",
    "aahr": "AAHR, BUTD regions + BERT + CLIP ViT-B/32",
    "aahr-faithful": "AAHR, BUTD regions + BERT + CLIP ViT-B/32",
}
FINE_TUNED = {"clip": "CLIP ViT-B/32, fine-tuned", "vsd": "VSD on CLIP ViT-B/32, fine-tuned"}
DIFFERENCES = {
    "regions": "the text tower is frozen CLIP here and trained BERT there, the schedule a cosine and not steps",
    "fine-tuned": "the recipe behind the quoted figures is not published",
}


def make_plan(root: Path, preset: str, parameters: Parameters) -> Plan:
    """The plan of parameters that `preset` composed to. Reads; writes and fetches nothing."""
    models = count_parameters(parameters)
    images = all_images(parameters)
    downloads = list(downloads_of(root, parameters))
    return Plan(
        preset,
        {
            "Stages": list(_stages(root, parameters)),
            "Downloads": downloads,
            "Disk": list(disk(parameters, models, images, downloads)),
            "Memory of the GPU, or of the CPU without one": list(memory(parameters, models)),
            "Time": list(_time(root, parameters)),
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


def _time(root: Path, parameters: Parameters) -> Iterator[Line]:
    train = (split_sizes(parameters) or {}).get("train")
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


def setting(parameters: Parameters) -> str:
    """Which published setting the parameters follow: "regions", "fine-tuned", or "" for none."""
    towers = parameters.towers
    if parameters.data.name not in ("coco", "flickr30k"):
        return ""
    if parameters.regions.use:
        return "regions"
    return "fine-tuned" if towers.open_clip_model == "ViT-B-32" and not towers.frozen else ""


def expected(parameters: Parameters) -> dict[str, Quoted | None]:
    """The quoted row of each method of the run; None where nothing is published for it in this setting.

    DITM has none in any: its paper's tables were never available.
    """
    labels = {"regions": REGIONS, "fine-tuned": FINE_TUNED}.get(setting(parameters), {})
    rows = {row.model: row for row in QUOTED if row.benchmark == parameters.data.name}
    return {method: rows.get(labels.get(method, "")) for method in parameters.methods}


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
