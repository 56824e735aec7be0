"""A folder in which every stage has run once, as small as can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from presets import ROOT, preset

from itm.config.render import render
from itm.stages.clean import clean
from itm.stages.describe import describe
from itm.stages.download import download
from itm.stages.encode import encode
from itm.stages.evaluate import evaluate
from itm.stages.features import features
from itm.stages.grade import grade
from itm.stages.report import report
from itm.stages.score import score
from itm.stages.train import train

SMALL = {
    "device": "cpu",
    "benchmarks": ["retrieval"],
    "datasets.scenes.train_images": 24,
    "datasets.scenes.dev_images": 20,
    "datasets.scenes.test_images": 20,
    "datasets.scenes.image_size": 32,
    "towers.image_size": 32,
    "towers.image_width": 8,
    "towers.text_width": 16,
    "train.batch_images": 12,
    "train.epochs": 1,
}
DATA, OUT = Path("data"), Path("out")
TABLES = DATA / "clean", DATA / "scored", DATA / "features", DATA / "descriptions"


def stages(method: str) -> dict[str, Callable[[Path], object]]:
    """The stages of a method by name, from the present folder into another."""
    model, vectors = DATA / f"models/{method}/seed0", DATA / f"embeddings/{method}/seed0"
    run = method, 0
    return {
        "download": lambda out: download("scenes.jsonl", out, "scenes"),
        "clean": lambda out: clean(DATA / "raw", out, out / "quality.json"),
        "score": lambda out: score(TABLES[0], out, out / "score.json"),
        "features": lambda out: features(TABLES[0], DATA / "regions", out),
        "describe": lambda out: describe(method, TABLES[0], TABLES[2], out),
        "train": lambda out: train(*run, *TABLES, out, out),
        "encode": lambda out: encode(*run, model, TABLES[0], TABLES[2], TABLES[3], out),
        "grade": lambda out: grade(*run, model, *TABLES[:2], vectors, out),
        "evaluate": lambda out: evaluate("retrieval", *run, *TABLES[:2], vectors, model / "grade.json", out, out),
        "report": lambda out: report(DATA / "results", DATA / "evaluations", *TABLES[:2], out),
    }


def make(root: Path, method: str = "clip") -> None:
    """Run them all."""
    entry = preset("scenes-smoke").method[method].model_dump()
    parameters = preset("scenes-smoke", changes={**SMALL, "methods": [method], "method": {method: entry}})
    (root / "params.yaml").write_text(render(parameters, "scenes-smoke"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (DATA / "results").mkdir(parents=True)
        (DATA / "evaluations").symlink_to("results")
        (DATA / "catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
        download("scenes-images.tar", DATA / "raw", "scenes")
        places = dict(zip(("clean", "scored", "features", "descriptions"), TABLES, strict=True))
        places |= {"download": DATA / "raw", "score": TABLES[1], "describe": TABLES[3]}
        places |= {"train": DATA / f"models/{method}/seed0", "encode": DATA / f"embeddings/{method}/seed0"}
        places |= {"grade": places["train"], "evaluate": DATA / f"results/{method}/seed0", "report": OUT}
        for name, stage in stages(method).items():
            stage(places[name])
