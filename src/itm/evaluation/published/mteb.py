"""Figures under the protocol "mteb" as MTEB's own result files, one a task.

What MTEB alone could know is null: its version, the time and the emissions of its run; the revision of the data set is
"no_revision_available", since no copy of MTEB's was read.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from itm.evaluation.result import Metrics

TASKS = {
    ("coco", "i2t"): "MSCOCOI2TRetrieval",
    ("coco", "t2i"): "MSCOCOT2IRetrieval",
    ("flickr30k", "i2t"): "Flickr30kI2TRetrieval",
    ("flickr30k", "t2i"): "Flickr30kT2IRetrieval",
}
MAIN = "ndcg_at_10"


def result_files(metrics: str | Path, benchmarks: Collection[str]) -> dict[tuple[str, str], Path]:
    """The file of each task of these benchmarks: in the folder NAME-mteb beside NAME.json."""
    folder = Path(metrics).with_name(f"{Path(metrics).stem}-mteb")
    return {key: folder / f"{task}.json" for key, task in TASKS.items() if key[0] in benchmarks}


def task_result(benchmark: str, direction: str, found: Metrics) -> dict[str, Any]:
    """The content of a result file, from the figures of one direction."""
    scores = {**found, "main_score": found[MAIN], "hf_subset": "default", "languages": ["eng-Latn"]}
    return {
        "task_name": TASKS[benchmark, direction],
        "mteb_version": None,
        "dataset_revision": "no_revision_available",
        "scores": {"test": [scores]},
        "evaluation_time": None,
        "kg_co2_emissions": None,
    }
