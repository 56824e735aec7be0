"""Shares of an oracle's gain that the methods recover: trained side by side on the scenes, measured on dev.

The oracle is `ditm` with the exact relation in place of its gate: soft targets, or masked negatives, on exactly the
false negatives. Run in a folder whose data/ the pipeline has filled with scenes (`dvc repro features`):

python benchmarks/oracle.py clip ditm-gate-only ditm --seeds 0 1 --out oracle.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import smoke
import torch

from itm.config import Parameters, load
from itm.config.methods import MethodParameters
from itm.config.model import TrainParameters
from itm.data.files import write_json
from itm.data.layout import CAPTIONS, IMAGES
from itm.data.tables import read_table
from itm.diagnosis.truth import LogicTruth, StoredTruth, Truth
from itm.errors import ConfigError
from itm.evaluation.benchmarks.false_negatives import order_within
from itm.methods.build import build_method
from itm.metrics import DotProduct, Positives
from itm.metrics.graded import precision_at_r
from itm.training.batches import Rows
from itm.training.dataset import TrainingData, load_training_data
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder
from itm.training.loop import Trainer, seed_everything
from itm.training.relations import Floats, Relations

SMALLEST = (
    "clip --oracle soft_targets masked --orders --epochs 1 --data {run}/data --params {params} "
    "--out {scratch}/oracle.json"
)


class OracleRelations(Relations):
    """Relations whose gate is the truth: a control that is told what `ditm` has to guess.

    With `direction: false` soft_targets, masked and the others then relax exactly the false negatives.
    """

    def __init__(self, known: Relations, truth: Truth) -> None:
        vars(self).update(vars(known))
        self.truth = truth

    def containment(self, images: Rows, captions: Rows) -> Floats:
        """(images, texts) 1.0 where the caption is true of the image, else 0.0."""
        return self.truth.of(images, captions).astype(np.float64)


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("methods", nargs="*", default=["clip", "ditm-gate-only", "ditm"])
    found.add_argument("--oracle", nargs="*", default=["soft_targets"], choices=["soft_targets", "masked"])
    found.add_argument("--like", default="ditm", help="entry that the oracle takes its other options from")
    found.add_argument("--orders", action="store_true", help="the oracle keeps the order terms of that entry")
    found.add_argument("--seeds", nargs="*", type=int, default=[0])
    found.add_argument("--epochs", type=int, help="in place of train.epochs")
    found.add_argument("--data", type=Path, default=Path("data"))
    found.add_argument("--params", type=Path, default=Path("params.yaml"))
    found.add_argument("--device", default="cpu")
    found.add_argument("--out", type=Path, help="write all figures as JSON here")
    return found


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    try:
        parameters = load(given.params)
        entries: dict[str, MethodParameters] = {name: parameters.entry(name) for name in given.methods}
        for kind in given.oracle:
            entries[f"oracle: {kind}"] = oracle(parameters.entry(given.like), kind, given.orders)
    except ConfigError as error:
        parser().error(str(error))
    train = parameters.train.model_copy(update={"epochs": given.epochs} if given.epochs else {})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in entries}
    for seed in given.seeds:
        for name, options in entries.items():
            begin = time.perf_counter()
            figures = one(given.data, parameters, train, options, seed, "oracle" in name, torch.device(given.device))
            found[name].append(figures)
            print(f"{name} seed {seed}: {time.perf_counter() - begin:.0f} s, {figures}", flush=True)
    table(found)
    if given.out:
        write_json(given.out, found)


def oracle(like: MethodParameters, refinement: str, orders: bool) -> MethodParameters:
    changes: dict[str, Any] = {"gate": "containment", "direction": False, "refinement": refinement}
    if not orders:
        changes |= {"order_weight": 0.0, "radius_weight": 0.0, "mined_captions": 0}
    given = like.model_dump()
    return MethodParameters.model_validate({**given, "loss": {**given["loss"], **changes}})


def one(
    data: Path,
    parameters: Parameters,
    train: TrainParameters,
    options: MethodParameters,
    seed: int,
    told: bool,
    device: torch.device,
) -> dict[str, float]:
    """The dev figures of one training, at the epoch that `train.select_by` keeps."""
    seed_everything(seed, train.threads)
    clean = data / "clean"
    loaded = load_training_data(clean, data / "scored", data / "features", parameters.towers, options, seed)
    ids = {split: identities(clean, split) for split in ("train", "dev")}
    relations = loaded.relations
    if told:
        relations = OracleRelations(relations, LogicTruth(data / "raw" / "scenes" / "scenes.jsonl", *ids["train"]))
    method = build_method(options, parameters.embedding, loaded.widths).to(device)
    towers = None if loaded.towers is None else loaded.towers.to(device)
    encoder = Encoder(method, towers, device, train.precision)
    size = parameters.encode.batch_size
    figures = dev_figures(loaded.dev.owner)
    outcome = Trainer(encoder, loaded.train, loaded.dev, relations, train, seed, figures, size).run()
    images, texts = encoder.index(loaded.dev.images, "image", size), encoder.index(loaded.dev.texts, "text", size)
    truth = StoredTruth(clean, "dev", *ids["dev"][:2])
    scores = images @ texts.T
    measured = graded(scores, truth.of(np.arange(len(images)), np.arange(len(texts))), loaded)
    return {
        "epoch": outcome.epoch,
        "rsum": round(figures(DotProduct(images, texts))["rsum"], 2),
        **measured,
        "order_tau": order(scores, clean, loaded),
    }


def order(scores: np.ndarray[Any, Any], clean: Path, data: TrainingData) -> float:
    """Agreement of an image's captions' similarities with their true level, as the benchmark `false_negatives` has."""
    captions = read_table(clean / CAPTIONS)
    level = captions["level"].to_numpy(np.float64)[(captions["split"] == "dev").to_numpy()]
    own = scores[data.dev.owner, np.arange(scores.shape[1])].astype(np.float64)
    known = level > 0
    return round(float(np.nanmean(order_within(data.dev.owner[known], own[known], level[known], len(scores)))), 4)


def identities(clean: Path, split: str) -> tuple[list[str], np.ndarray[Any, Any], list[str]]:
    """Image ids, caption ids and the captions' image ids of a split, in the order of its rows."""
    images, captions = (read_table(clean / name) for name in (IMAGES, CAPTIONS))
    images, captions = images[images["split"] == split], captions[captions["split"] == split]
    return list(images["image_id"]), captions["caption_id"].to_numpy(np.int64), list(captions["image_id"])


def graded(scores: np.ndarray[Any, Any], true: np.ndarray[Any, Any], data: TrainingData) -> dict[str, float]:
    """mAP@R over all true pairs, in both directions, and the share of true pairs that pair labels do not know."""
    labelled = np.arange(len(scores))[:, None] == data.dev.owner[None, :]
    found = {"unlabelled": round(float((true & ~labelled).sum() / true.sum()), 4)}
    for name, values, answers in (("i2t", scores, true), ("t2i", scores.T, true.T)):
        positives = Positives.from_mask(answers)
        found[f"{name}_map_at_r"] = round(float(np.nanmean(precision_at_r(values, positives).map_at_r)), 4)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> None:
    """Means over seeds; gain: the share of the first oracle's gain in i2t mAP@R over `clip` that a method recovers."""
    means = {name: {key: float(np.mean([run[key] for run in runs])) for key in runs[0]} for name, runs in found.items()}
    best = next((means[name]["i2t_map_at_r"] for name in means if name.startswith("oracle")), None)
    base = means.get("clip", {}).get("i2t_map_at_r")
    print(f"\n{'method':24} {'RSUM':>7} {'i2t mAP@R':>10} {'t2i mAP@R':>10} {'gain':>6} {'order tau':>10}")
    for name, values in means.items():
        known = best is not None and base is not None and best != base
        gain = f"{(values['i2t_map_at_r'] - base) / (best - base):6.2f}" if known else ""  # type: ignore[operator]
        shown = f"{values['rsum']:7.1f} {values['i2t_map_at_r']:10.4f} {values['t2i_map_at_r']:10.4f}"
        print(f"{name:24} {shown} {gain:6} {values['order_tau']:10.4f}")


if __name__ == "__main__":
    main()
