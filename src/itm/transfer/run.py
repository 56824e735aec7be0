"""Trained models evaluated on a split of another data set: features, descriptions, embeddings, benchmarks."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from itm.config import BENCHMARK_NAMES, Parameters
from itm.config.model import TowersParameters
from itm.data.files import read_json
from itm.data.layout import DESCRIPTION_VECTORS, IMAGE_FEATURES, IMAGES, MODEL_CARD, TEXT_FEATURES
from itm.descriptions.vectors import write_description_vectors
from itm.encode import compute_features, encode_split
from itm.errors import ConfigError, ModelError, nearest
from itm.evaluation.benchmarks import measure
from itm.evaluation.result import Metrics, Result, rounded
from itm.evaluation.tables import Tables
from itm.features import write_features
from itm.methods.saved import method_parameters, towers_of
from itm.towers.build import check_same
from itm.transfer.descriptions import Describer, Part, evaluation_part, seen_in_training, training_part
from itm.vectors.pipeline import Embeddings

log = logging.getLogger(__name__)


@dataclass
class Transfer:
    """One target, and what has been computed of it so far; models with the same towers share their features.

    Attributes:
        target: data folder of the target, with `clean` and, for false_negatives, `scored`.
        source: data folder of the training.
        parameters: of the training; `describe`, `encode`, `evaluate` and the number of threads count.
        work: a folder for intermediate files.
        device: to compute on.
    """

    target: Path
    source: Path
    parameters: Parameters
    split: str
    work: Path
    device: str
    evaluated: Part = field(init=False)
    training: Part | None = field(init=False)
    _features: dict[str, Path] = field(default_factory=dict, init=False)
    _describer: Describer | None = field(init=False)

    def __post_init__(self) -> None:
        self.evaluated = evaluation_part(self.target / "clean", self.split)
        self.evaluated.write(self.clean)
        clean = self.source / "clean"
        self.training = training_part(clean) if (clean / IMAGES).is_file() else None
        self._describer = (
            Describer(self.training, self.evaluated, self.source, self.work, self.parameters.describe, self.device)
            if self.training is not None
            else None
        )

    @property
    def clean(self) -> Path:
        """Where the tables of the evaluated rows lie."""
        return self.work / "evaluated"

    def embed(self, model: Path) -> Embeddings:
        """A model's embeddings of the target.

        Raises:
            ModelError: the model needs region features; or the towers that can be built here differ from those of its
                training (weights, activation, preprocessing, sizes).
            ConfigError, DataError: as `itm.transfer.descriptions.Describer.vectors`.
        """
        card = read_json(model / MODEL_CARD)
        if "regions" in card["towers_description"]:
            raise ModelError(
                f"{model}: trained on region features, which nothing here can compute for other images; transfer a "
                "model of towers",
                reason="regions",
            )
        towers = towers_of(card)
        features = self._features_of(towers, card) if towers.frozen else self.work / "none"
        place = self.work / f"{card['name']}-{card['seed']}"
        added = method_parameters(card).add.descriptions
        if added is not None:
            if self._describer is None:
                raise ModelError(
                    f"{model}: adds descriptions, which come from the training captions; {self.source / 'clean'} has "
                    "none: say where the data of the training lie with --source",
                    reason="no-source",
                )
            write_description_vectors(
                place / DESCRIPTION_VECTORS, self._describer.vectors(card["name"], features, added, towers)
            )
        options = self.parameters.encode.model_copy(update={"split": self.split})
        return encode_split(model, self.clean, features, place, options, self.parameters.train.threads, self.device)

    def _features_of(self, towers: TowersParameters, card: dict[str, Any]) -> Path:
        """The folder with the frozen towers' features of the evaluated rows, computed for the first model."""
        key = json.dumps(card["towers"], sort_keys=True)
        if key not in self._features:
            folder = self.work / f"features-{len(self._features)}"
            encode, threads = self.parameters.encode, self.parameters.train.threads
            images, texts = compute_features(self.clean, towers, encode.batch_size, threads, self.device, folder)
            check_same(card["towers_description"], images.towers)
            write_features(folder / IMAGE_FEATURES, images)
            write_features(folder / TEXT_FEATURES, texts)
            self._features[key] = folder
        return self._features[key]


def transfer(
    models: Sequence[Path],
    target: Path,
    source: Path,
    parameters: Parameters,
    benchmarks: Sequence[str],
    device: str,
    *,
    split: str = "test",
    evaluations: Path = Path(),
) -> tuple[dict[str, Any], dict[Path, Result]]:
    """The metrics of each model on each benchmark of the target, and how many of its images training has seen.

    Beside them the per-query values by file, for `itm.evaluation.result.write_together`.

    Args:
        models: folders of trained models.
        target: a data folder with `clean` (and `scored`), made by the pipeline's stages for the other data set.
        source: the data folder of the training: `clean`, `features`, `descriptions`.
        benchmarks: by name; those that the target's tables have ground truth for.
        evaluations: folder for the per-query values, METHOD/seedN/BENCHMARK.npz.

    Raises:
        ConfigError: no such benchmark. DataError, ModelError: as `Transfer.embed`, or the target lacks a truth.
    """
    for name in benchmarks:
        if name not in BENCHMARK_NAMES:
            raise ConfigError(f"no benchmark '{name}'; {nearest(name, BENCHMARK_NAMES)}", reason="unknown-benchmark")
    runs: dict[str, dict[str, Metrics]] = {}
    results: dict[Path, Result] = {}
    with tempfile.TemporaryDirectory(prefix="itm-transfer-") as work:
        job = Transfer(target, source, parameters, split, Path(work), device)
        seen = None if job.training is None else seen_in_training(job.training, job.evaluated)
        if seen:
            log.warning("%d images of %s are, byte for byte, among the training images: not zero-shot", seen, target)
        tables = Tables(target / "clean", target / "scored", split)
        for model in models:
            embeddings = job.embed(model)
            runs[str(model)] = {}
            for name in benchmarks:
                result = measure(name, tables, embeddings, parameters.evaluate)
                runs[str(model)][name] = rounded(result.metrics, parameters.evaluate.digits)
                whole = {**result.protocol, **embeddings.protocol, "benchmark": name, "target": str(target)}
                folder = evaluations / whole["method"] / f"seed{whole['seed']}"
                results[folder / f"{name}.npz"] = replace(result, protocol=whole)
    images = int((job.evaluated.images["split"] == split).sum())
    found = {
        "split": split,
        "images": images,
        "captions": len(job.evaluated.captions),
        "seen_in_training": seen,
        "runs": runs,
    }
    return found, results
