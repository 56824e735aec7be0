"""The plan of a set of parameters: runs, downloads and sizes, each with its basis; "unknown" where there is none.

Counts come from dvc.yaml, sizes of downloads from data/catalogue.yaml, numbers of images from the published splits,
sizes of arrays from their shapes, numbers of parameters from models that are built (with random weights) and thrown
away. What the stages before training take comes from formulas that benchmarks/scale.py checks. Nothing is known
beforehand of the memory that activations take and of the time a step takes on a GPU: times of a training and of what
follows it are told only where this machine has run such stages before.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from itm.config import Parameters
from itm.pipeline.stages import Stages
from itm.runs.plan.data import CAPTIONS_AN_IMAGE, all_images, disk, downloads_of, host_memory, split_sizes
from itm.runs.plan.lines import Line, Plan
from itm.runs.plan.models import count_parameters, memory
from itm.runs.plan.published import published
from itm.runs.plan.stages import Counts, needs, stage_lines


def make_plan(root: Path, preset: str, parameters: Parameters) -> Plan:
    """The plan of parameters that `preset` composed to. Reads; writes and fetches nothing."""
    models = count_parameters(parameters)
    images = all_images(parameters)
    downloads = list(downloads_of(root, parameters))
    needed = needs(parameters, models, Counts.of(root, parameters))
    return Plan(
        preset,
        {
            "Stages": list(_stages(root, parameters)),
            "Downloads": downloads,
            "Disk": list(disk(parameters, models, images, downloads, stage_lines(needed, "disk"))),
            "Memory of the GPU, or of the CPU without one": list(memory(parameters, models)),
            "Memory of the host": [*stage_lines(needed, "memory"), *host_memory(parameters, models, images)],
            "Time": [*stage_lines(needed, "seconds"), *_time(root, parameters)],
            "Published figures to compare with (RSUM)": list(published(parameters)),
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
        found: dict[tuple[int, str], list[str]] = {}
        for method in parameters.methods:
            own = parameters.of(method).train
            of_all = train if own.epoch == "images" else CAPTIONS_AN_IMAGE * train // own.captions_per_image
            basis = f"{own.epochs} epochs of {train:,} {own.epoch}"
            if own.epoch == "captions":
                basis = f"{own.epochs} epochs of about {CAPTIONS_AN_IMAGE * train:,} captions"
            steps = own.epochs * (of_all // own.batch_images)
            found.setdefault((steps, f"{basis} in batches of {own.batch_images} images"), []).append(method)
        for (number, basis), methods in found.items():
            name = "steps of a training" + (f", {', '.join(methods)}" if len(found) > 1 else "")
            yield Line(name, number, basis, "count")
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
