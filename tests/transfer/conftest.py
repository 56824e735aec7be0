"""Two tiny data sets of scenes, and models that were trained on one of them by the pipeline's own stages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from presets import preset

from itm.config import Parameters
from itm.config.render import render
from itm.data.clean.run import clean_data_set
from itm.data.files import read_json
from itm.data.scenes import write_images, write_scenes
from itm.text.corpus import read_corpus, score_corpus, write_scored
from itm.towers import offline

ROOT = Path(__file__).parents[2]
SMALL = {
    "device": "cpu",
    "methods": ["clip", "vsd"],
    "benchmarks": ["retrieval", "hierarcaps", "false_negatives"],
    "datasets.scenes.train_images": 24,
    "datasets.scenes.dev_images": 8,
    "datasets.scenes.test_images": 8,
    "datasets.scenes.image_size": 32,
    "towers.image_size": 64,
    "towers.context_length": 16,
    "embedding.dimension": 16,
    "embedding.layers": 1,
    "train.epochs": 2,
    "train.batch_images": 8,
    "train.threads": 1,
    "describe.captions": 2,
    "evaluate.bootstrap_samples": 10,
}


def write_data(folder: Path, parameters: Parameters, seed: int) -> Path:
    """data/clean and data/scored of scenes; gives back `folder`."""
    scenes = parameters.datasets.scenes.model_copy(update={"seed": seed})
    raw = folder / "raw"
    raw.mkdir(parents=True)
    write_scenes(scenes, raw / "scenes.jsonl")
    write_images(scenes, raw / "scenes-images.tar")
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
            evaluate(
                benchmark, method, 0, clean, scored, vectors, root / "no grade", metrics, root / "per_query" / method
            )


@pytest.fixture(scope="module", autouse=True)
def weights_read_once() -> Iterator[None]:
    """The files of the pretrained towers, which nothing here changes, are read once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("load_lite0", "load_minilm", "sha256_of"):
            patch.setattr(offline, name, functools.cache(getattr(offline, name)))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A project that ran: `trained.root`, `trained.parameters`, `trained.metrics(method)`; and `trained.other`, data of
    other scenes. Read only."""
    root = tmp_path_factory.mktemp("trained")
    parameters = preset("scenes-smoke", "model=offline", changes=SMALL)
    (root / "params.yaml").write_text(render(parameters, "scenes-smoke"))
    write_data(root / "data", parameters, seed=0)
    (root / "data/catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train_both(root)
    metrics: Callable[[str], dict] = lambda method: {  # noqa: E731
        name: read_json(root / f"results/{method}/{name}.json")
        for name in ("retrieval", "hierarcaps", "false_negatives")
    }
    return SimpleNamespace(
        root=root,
        data=root / "data",
        models={method: root / f"models/{method}/seed0" for method in ("clip", "vsd")},
        parameters=parameters,
        metrics=metrics,
        other=write_data(root / "other", parameters, seed=7),
    )
