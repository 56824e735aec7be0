"""The training loop: the same for every method, bit-identical for the same seed on the same machine."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from itm.config.model import TrainParameters
from itm.errors import TrainingError
from itm.methods.interface import Context, Losses
from itm.training.batches import Rows, Sampler
from itm.training.checkpoint import Checkpoint
from itm.training.inputs import Encoder, Inputs
from itm.training.relations import Relations
from itm.training.schedule import optimiser, rate_factor

log = logging.getLogger(__name__)


@dataclass
class Split:
    """Images and captions of one split. owner: (captions,) image row. root: the empty caption, one row."""

    images: Inputs
    texts: Inputs
    owner: Rows
    root: Inputs


@dataclass
class Outcome:
    """What training leaves: the kept epoch, the dev figure it was kept for, and one record an epoch."""

    epoch: int
    selected: float
    history: list[dict[str, float]] = field(default_factory=list)


DevFigures = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], dict[str, float]]


def seed_everything(seed: int, threads: int) -> None:
    """Seed torch and fix what else decides the bits: thread count and deterministic kernels."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


class Trainer:
    """Trains one method on one split and keeps the epoch that is best on dev.

    `dev_figures` maps index vectors of the dev images and captions to figures; it must give "rsum".
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
    ) -> None:
        self.encoder, self.train, self.dev, self.relations = encoder, train, dev, relations
        self.parameters, self.seed, self.dev_figures, self.batch_size = parameters, seed, dev_figures, batch_size
        self.checkpoint, self.progress = checkpoint, progress
        self.sampler = Sampler(train.owner, parameters.batch_images, parameters.captions_per_image, seed)
        trained_towers = encoder.towers if train.images.features is None else None
        self.optimiser = optimiser(encoder.method, trained_towers, parameters)
        self.modules: dict[str, nn.Module] = {"method": encoder.method}
        if trained_towers is not None:
            self.modules["towers"] = trained_towers
        self.steps = self.sampler.steps() * parameters.epochs

    def run(self) -> Outcome:
        """Train to the end, resuming after the last saved epoch if there is one.

        The modules end with the weights of the kept epoch.

        Raises:
            TrainingError: the loss is not finite (reason "not-finite"), or all similarities of the dev split are
                equal (reason "collapsed").
        """
        outcome = Outcome(epoch=-1, selected=-np.inf)
        best = self._weights()
        first = 0
        state = self.checkpoint.load(self.encoder.device) if self.checkpoint else None
        if state is not None:
            first, best, outcome = state["next"], state["best"], Outcome(**state["outcome"])
            self._restore(state)
            log.info("resuming after epoch %d", first)
        for epoch in range(first, self.parameters.epochs):
            started = time.perf_counter()
            record = {"epoch": float(epoch + 1), **self._epoch(epoch), **self._evaluate()}
            seconds = time.perf_counter() - started
            log.info("epoch %d/%d: %s (%.1f s)", epoch + 1, self.parameters.epochs, _shown(record), seconds)
            outcome.history.append(record)
            better = record["dev_rsum"] > outcome.selected or self.parameters.select_by == "last"
            if better:
                outcome.epoch, outcome.selected, best = epoch + 1, record["dev_rsum"], self._weights()
            if self.checkpoint:
                self.checkpoint.save(self._state(epoch + 1, best, outcome))
        for name, module in self.modules.items():
            module.load_state_dict(best[name])
        return outcome

    def _epoch(self, epoch: int) -> dict[str, float]:
        self.encoder.train()
        sums: dict[str, float] = {}
        steps = self.sampler.steps()
        for step, rows in enumerate(self.sampler.epoch(epoch)):
            number = epoch * steps + step
            rate = rate_factor(number, self.steps, self.parameters.warmup_fraction)
            for group in self.optimiser.param_groups:
                group["lr"] = group["peak"] * rate
            losses = self._step(rows, Context(epoch=epoch, step=number))
            for name, term in losses.terms.items():
                sums[name] = sums.get(name, 0.0) + term.value.item()
            for name, figure in losses.figures.items():
                sums[name] = sums.get(name, 0.0) + figure
            sums["train_loss"] = sums.get("train_loss", 0.0) + losses.total().item()
            if self.progress:
                self.progress(number + 1, self.steps, f"epoch {epoch + 1}/{self.parameters.epochs}")
        return {name: total / steps for name, total in sorted(sums.items())}

    def _step(self, rows: Any, context: Context) -> Losses:
        encoder, method, device = self.encoder, self.encoder.method, self.encoder.device
        images = encoder.images(self.train.images.batch(rows.images, device))
        texts = encoder.texts(self.train.texts.batch(rows.captions, device))
        if method.requires.root:
            context.root = encoder.texts(self.train.root.batch(np.zeros(1, np.int64), device))
        losses = method.losses(images, texts, self.relations.labels(rows, method.requires, device), context)
        total = losses.total()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {term.value.item():g}" for name, term in losses.terms.items())
            raise TrainingError(
                f"the loss is not finite at step {context.step} ({values}); lower train.learning_rate "
                "or raise the temperature",
                reason="not-finite",
            )
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self.parameters.gradient_clip:
            trained = [p for group in self.optimiser.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, self.parameters.gradient_clip)
        self.optimiser.step()
        method.after_step()
        return losses

    def _evaluate(self) -> dict[str, float]:
        images = self.encoder.index(self.dev.images, "image", self.batch_size)
        texts = self.encoder.index(self.dev.texts, "text", self.batch_size)
        sample = images[:64] @ texts[:64].T
        if np.ptp(sample) < 1e-6:
            raise TrainingError(
                "the model has collapsed: all dev similarities are equal; use a longer warm-up "
                "(method.*.warmup_epochs), a smaller learning rate or mining: sum",
                reason="collapsed",
            )
        return {f"dev_{name}": value for name, value in self.dev_figures(images, texts).items()}

    def _weights(self) -> dict[str, Any]:
        return {name: copy.deepcopy(module.state_dict()) for name, module in self.modules.items()}

    def _state(self, following: int, best: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
        return {
            "next": following,
            "best": best,
            "outcome": {"epoch": outcome.epoch, "selected": outcome.selected, "history": outcome.history},
            "modules": self._weights(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([each.cpu() for each in state["random_cuda"]])


def _shown(record: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in record.items() if name != "epoch")
