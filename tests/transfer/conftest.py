"""Two tiny data sets of scenes, and models that were trained on one of them by the pipeline's own stages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm.config.presets import compose
from itm.config.render import render
from itm.data.clean.run import clean_data_set
from itm.data.files import read_json
from itm.data.scenes import write_images, write_scenes
from itm.text.corpus import read_corpus, score_corpus, write_scored

ROOT = Path(__file__).parents[2]
SIZES = ["train_images=60", "dev_images=12", "test_images=16", "image_size=32"]
SMALL = [
    "model=offline",
    "device=cpu",
    "methods=[clip,vsd]",
    "benchmarks=[retrieval,hierarcaps,false_negatives]",
    "towers.image_size=64",
    "towers.context_length=16",
    "embedding.dimension=16",
    "embedding.layers=1",
    "train.epochs=2",
    "train.batch_images=20",
    "train.threads=1",
    "describe.captions=2",
    "evaluate.bootstrap_samples=10",
    *(f"datasets.scenes.{size}" for size in SIZES),
]


def write_data(folder: Path, *options: str) -> Path:
    """data/clean and data/scored of scenes; gives back `folder`."""
    parameters = compose("scenes-smoke", [*SMALL, *options], root=ROOT)
    raw = folder / "raw"
    raw.mkdir(parents=True)
    write_scenes(parameters.datasets.scenes, raw / "scenes.jsonl")
    write_images(parameters.datasets.scenes, raw / "scenes-images.tar")
    clean_data_set(parameters, raw, folder / "clean", folder / "quality.json", lambda *_: None)
    corpus = read_corpus(folder / "clean")
    write_scored(folder / "scored", corpus, score_corpus(corpus, parameters.score))
    return folder


def train_both(root: Path) -> None:
    """Stages features to evaluate for both methods, in the present folder."""
    from itm.stages.describe import describe
    from itm.stages.encode import encode
    from itm.stages.evaluate import evaluate
    from itm.stages.features import features
    from itm.stages.train import train

    data = root / "data"
    clean, scored, cached = data / "clean", data / "scored", data / "features"
    features(clean, data / "regions", cached)
    for method in ("clip", "vsd"):
        told, model, vectors = data / "descriptions" / method, root / "models" / method, root / "embeddings" / method
        describe(method, clean, cached, told)
        train(method, 0, clean, scored, cached, told, model / "seed0", root / "results" / method)
        encode(method, 0, model / "seed0", clean, cached, told, vectors)
        for benchmark in ("retrieval", "hierarcaps", "false_negatives"):
            metrics = root / "results" / method
            evaluate(benchmark, method, 0, clean, scored, vectors, metrics, root / "per_query" / method)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A project that ran: `trained.root`, `trained.parameters`, `trained.metrics(method)`; and `trained.other`, data of
    other scenes. Read only."""
    root = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    (root / "params.yaml").write_text(render(compose("scenes-smoke", SMALL, root=ROOT), "scenes-smoke"))
    write_data(root / "data")
    (root / "data/catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
    os.chdir(root)
    try:
        train_both(root)
    finally:
        os.chdir(before)
    metrics: Callable[[str], dict] = lambda method: {  # noqa: E731
        name: read_json(root / f"results/{method}/{name}.json")
        for name in ("retrieval", "hierarcaps", "false_negatives")
    }
    return SimpleNamespace(
        root=root,
        data=root / "data",
        models={method: root / f"models/{method}/seed0" for method in ("clip", "vsd")},
        parameters=compose("scenes-smoke", SMALL, root=ROOT),
        metrics=metrics,
        other=write_data(root / "other", "datasets.scenes.seed=7"),
    )
