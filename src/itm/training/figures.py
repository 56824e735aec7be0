"""Figures of an epoch: means of its losses over the steps, and retrieval on the dev split."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm.errors import TrainingError
from itm.methods.method import Losses
from itm.metrics import Positives, hit_rates, rank_all, rsum
from itm.metrics.scorer import Scorer


class EpochFigures:
    """Sums over the steps of an epoch, in their order.

    Reading a number from a GPU waits until the GPU has computed it. So values are read in blocks of `every` steps, and
    a loss that is not finite is found up to that many steps late.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._unread: list[tuple[int, list[str], Tensor, dict[str, float]]] = []

    def add(self, step: int, losses: Losses, total: Tensor, gradient_norm: Tensor) -> None:
        """Take in a step: its terms, its loss, and its gradient norm before clipping.

        Raises:
            TrainingError: a loss is not finite (reason "not-finite").
        """
        values = [*(term.value.detach() for term in losses.terms.values()), total.detach(), gradient_norm.detach()]
        names = [*losses.terms, "train_loss", "gradient_norm"]
        # float64 holds every float32 and float64 value as it is
        self._unread.append((step, names, torch.stack([value.double() for value in values]), losses.figures))
        if len(self._unread) >= self.every:
            self._read()

    def means(self) -> dict[str, float]:
        """The mean of each value over the steps that had it: a term may start in the middle of an epoch."""
        self._read()
        return {name: total / self.counts[name] for name, total in sorted(self.sums.items())}

    def _read(self) -> None:
        for step, names, tensor, figures in self._unread:
            values = dict(zip(names, tensor.tolist(), strict=True))
            if not math.isfinite(values["train_loss"]):
                shown = ", ".join(f"{name} {values[name]:g}" for name in names[:-2])
                raise TrainingError(
                    f"the loss is not finite at step {step} ({shown}); lower train.learning_rate "
                    "or raise the temperature",
                    reason="not-finite",
                )
            norm = values.pop("gradient_norm")
            if math.isfinite(norm):  # a scaled float16 loss overflows now and then; such a step is skipped
                values["gradient_norm"] = norm
            for name, value in (values | figures).items():
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1
        self._unread.clear()


def dev_figures(owner: np.ndarray[Any, np.dtype[np.int64]]) -> Callable[[Scorer], dict[str, float]]:
    """A function from the similarities of dev images and captions to {"rsum", "i2t_r1", "t2i_r1"}.

    rsum: 0..600; R@1 as fractions.
    """
    images_to_texts, texts_to_images = Positives.from_owners(owner, int(owner.max()) + 1)

    def figures(scorer: Scorer) -> dict[str, float]:
        (forth,), (back,) = (
            [hit_rates(ranks) for ranks in direction]
            for direction in rank_all(scorer, [images_to_texts], [texts_to_images])
        )
        return {"rsum": rsum(forth, back), "i2t_r1": forth["r1"], "t2i_r1": back["r1"]}

    return figures
