"""The training loop: the same for every method, bit-identical for the same seed on the same machine."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from itm.config.model import TrainParameters
from itm.errors import TrainingError, first_few
from itm.methods.method import Context, Method
from itm.methods.scoring import all_similarities
from itm.metrics.scorer import DotProduct, Matrix, Scorer
from itm.training.average import WeightAverage
from itm.training.batches import Sampler, largest_batch
from itm.training.checkpoint import Checkpoint, random_state, set_random_state
from itm.training.distributed import Group
from itm.training.figures import EpochFigures
from itm.training.inputs import Encoder, Inputs, Split
from itm.training.relations import Relations
from itm.training.schedule import optimiser, rate_factor
from itm.training.steps import Stepper

log = logging.getLogger(__name__)

__all__ = ["DevFigures", "Outcome", "Split", "Trainer", "seed_everything"]


@dataclass
class Outcome:
    """What training leaves: the kept epoch, the dev figure it was kept for, and one record an epoch."""

    epoch: int
    selected: float
    history: list[dict[str, float]] = field(default_factory=list)


DevFigures = Callable[[Scorer], dict[str, float]]


def seed_everything(seed: int, threads: int) -> None:
    """Seed torch and fix what else decides the bits: thread count and deterministic kernels."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def check_starts(method: Method, steps: int) -> None:
    """Refuse a training that ends before an addition's terms begin.

    Raises:
        TrainingError: there are such additions (reason "never-starts").
    """
    late = [
        f"{name} at step {first}" for name, each in method.added.items() if (first := each.first_step(steps)) >= steps
    ]
    if late:
        raise TrainingError(
            f"the training has {steps} steps, and {len(late)} additions begin after its end ({first_few(late)}): they "
            "would never count; set method.NAME.add.ADDITION.start below that, or to a share of the steps, such as 0.2",
            reason="never-starts",
        )


class Trainer:
    """Trains one method on one split and keeps the epoch that is best on dev.

    `dev_figures` maps the similarities of the dev images and captions to figures; it must give "rsum". `told` takes the
    record of each epoch when it has ended; where a training is resumed, first those of the epochs before.
    """

    def __init__(
        self,
        encoder: Encoder,
        train: Split,
        dev: Split,
        relations: Relations,
        parameters: TrainParameters,
        seed: int,
        dev_figures: DevFigures,
        batch_size: int,
        checkpoint: Checkpoint | None = None,
        progress: Callable[[int, int, str], None] | None = None,
        group: Group | None = None,
        told: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        self.told = told or (lambda record: None)
        self.encoder, self.train, self.dev = encoder, train, dev
        self.checkpoint, self.progress, self.group = checkpoint, progress, group or Group()
        size = largest_batch(train.owner, parameters.batch_images, self.group.size)
        parameters = parameters.model_copy(update={"batch_images": size})
        self.parameters, self.dev_figures, self.batch_size = parameters, dev_figures, batch_size
        self.sampler = Sampler(train.owner, size, parameters.captions_per_image, seed, parameters.epoch)
        trained_towers = encoder.towers if train.images.features is None else None
        self.modules: dict[str, nn.Module] = {"method": encoder.method}
        if trained_towers is not None:
            self.modules["towers"] = trained_towers
            if parameters.gradient_checkpointing:
                trained_towers.checkpoint_gradients()
        for addition in encoder.method.added.values():
            for trained in (trained_towers, encoder.method.words):
                if trained is not None:
                    addition.watch(trained)
        self.optimiser = optimiser(encoder.method, trained_towers, parameters)
        self.stepper = Stepper(encoder, train, relations, self.optimiser, self.modules, parameters, seed, self.group)
        self.average = WeightAverage(self.modules, parameters.weight_average) if parameters.weight_average else None
        self.steps = self.sampler.steps() * parameters.epochs
        self.drops = [epoch * self.sampler.steps() for epoch in parameters.decay_epochs]
        check_starts(encoder.method, self.steps)

    def run(self) -> Outcome:
        """Train to the end, resuming after the last saved epoch if there is one.

        The modules end with the weights of the kept epoch.

        Raises:
            TrainingError: the loss is not finite (reason "not-finite"), or all similarities of the dev split are
                equal (reason "collapsed").
        """
        first, best, outcome = self._resume()
        for record in outcome.history:
            self.told(record)
        patience = self.parameters.patience
        for epoch in range(first, self.parameters.epochs):
            if patience and outcome.history and epoch - outcome.epoch >= patience:
                log.info("no better dev RSUM in %d epochs: training stops early", patience)
                break
            record = {"epoch": float(epoch + 1), **self._epoch(epoch)}
            with self.average.applied() if self.average else nullcontext():
                record |= self.group.from_leader(self._evaluate())
                if record["dev_rsum"] > outcome.selected or self.parameters.select_by == "last":
                    outcome.epoch, outcome.selected, best = epoch + 1, record["dev_rsum"], self._weights()
            outcome.history.append(record)
            self.told(record)
            log.info("epoch %d/%d: %s", epoch + 1, self.parameters.epochs, _shown(record))
            if self.checkpoint and self.group.leads:
                self.checkpoint.save(self._state(epoch + 1, best, outcome))
        for name, module in self.modules.items():
            module.load_state_dict(best[name])
        return outcome

    def _epoch(self, epoch: int) -> dict[str, float]:
        self.encoder.train()
        cuda = self.encoder.device.type == "cuda"
        figures = EpochFigures(every=50 if cuda else 1)
        steps, started, rate, speed = self.sampler.steps(), time.perf_counter(), 0.0, 0.0
        self.train.texts.start(epoch, ())
        self.train.images.start(epoch, (self.group.share(rows.images) for rows in self.sampler.epoch(epoch)))
        for step, rows in enumerate(self.sampler.epoch(epoch)):
            number = epoch * steps + step
            factor = rate_factor(number, self.steps, self.parameters.warmup_fraction, self.drops)
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak"] * factor
            rate = self.optimiser.param_groups[0]["lr"]
            taken = self.stepper.take(rows, Context(epoch=epoch, step=number, steps=self.steps))
            figures.add(number, taken.losses, taken.total, taken.gradient_norm)
            if self.average:
                self.average.update()
            speed = (step + 1) * self.parameters.batch_images / (time.perf_counter() - started)
            if self.progress:
                note = f"epoch {epoch + 1}/{self.parameters.epochs}, {speed:.0f} images/s"
                self.progress(number + 1, self.steps, note)
        found = figures.means()
        memory = (
            f", {torch.cuda.max_memory_allocated(self.encoder.device) / 2**30:.1f} GiB of GPU memory" if cuda else ""
        )
        # speed is for the log only: what is kept must be the same in every run
        log.info("epoch %d/%d: %.0f images/s%s", epoch + 1, self.parameters.epochs, speed, memory)
        return {**found, "learning_rate": rate}

    def _evaluate(self) -> dict[str, float]:
        scorer = self._dev_scorer()
        if not self.group.leads:
            return {}
        if np.ptp(scorer.block(slice(0, 64), slice(0, 64))) < 1e-6:
            raise TrainingError(
                "the model has collapsed: all dev similarities are equal; use a longer warm-up "
                "(method.*.loss.warmup_epochs), a smaller learning rate or mining: sum",
                reason="collapsed",
            )
        return {f"dev_{name}": value for name, value in self.dev_figures(scorer).items()}

    def _dev_scorer(self) -> DotProduct | Matrix:
        """The similarities of dev images and captions; each process computes its share."""
        if self.encoder.method.kind == "dot":
            return DotProduct(self._index(self.dev.images, "image"), self._index(self.dev.texts, "text"))
        rows = self.group.share(np.arange(len(self.dev.images)))
        images = self.encoder.batches(self.dev.images, "image", self.batch_size, rows)
        texts = self.encoder.batches(self.dev.texts, "text", self.batch_size)
        return Matrix(self.group.gather_rows(all_similarities(self.encoder.method, images, texts).values))

    def _index(self, inputs: Inputs, kind: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = self.group.share(np.arange(len(inputs)))
        return self.group.gather_rows(self.encoder.index(inputs, kind, self.batch_size, rows))

    def _weights(self) -> dict[str, Any]:
        return {name: copy.deepcopy(module.state_dict()) for name, module in self.modules.items()}

    def _state(self, following: int, best: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
        return {
            "next": following,
            "best": best,
            "outcome": asdict(outcome),
            "modules": self._weights(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "average": self.average.state() if self.average else None,
            "random": random_state(self.encoder.device),
        }

    def _resume(self) -> tuple[int, dict[str, Any], Outcome]:
        """The epoch to start with, and the best weights and the outcome so far."""
        state = self.checkpoint.load(self.encoder.device) if self.checkpoint else None
        first = 0 if state is None else state["next"]
        if self.group.from_leader(first) != first:
            raise TrainingError(
                f"process {self.group.rank} would go on after epoch {first}, the first process elsewhere; "
                "all processes must see the same .itm/checkpoints",
                reason="resume",
            )
        if state is None:
            return 0, self._weights(), Outcome(epoch=-1, selected=-np.inf)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.restore(state["average"])
        set_random_state(state["random"], self.encoder.device)
        log.info("resuming after epoch %d", first)
        return first, state["best"], Outcome(**state["outcome"])


def _shown(record: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in record.items() if name != "epoch")
