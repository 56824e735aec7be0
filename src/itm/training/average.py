"""A moving average of the weights over the steps: often a better model than the last step's, at no cost in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from itm.methods.method import Method


def _kept(module: nn.Module) -> dict[str, Tensor]:
    # queues and the like serve training only: their average would mean nothing
    return module.exported() if isinstance(module, Method) else module.state_dict()


class WeightAverage:
    """a <- d * a + (1 - d) * w after each step, with d = min(decay, (1 + t) / (10 + t)) at step t = 1, 2, ...

    The smaller decay of the first steps lets the random start be forgotten also in short runs. Buffers such as the
    running statistics of batch normalisation are averaged too; counters are copied.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        self.decay, self.steps = decay, 0
        # state_dict gives the live tensors themselves, so that their values can be exchanged in place
        live = {f"{room}.{name}": t for room, module in modules.items() for name, t in _kept(module).items()}
        self.live = {name: t for name, t in live.items() if t.is_floating_point()}
        self.average = {name: t.clone() for name, t in self.live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.values()), list(self.live.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the modules have the averaged weights; afterwards their own again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, live in self.live.items():
            kept = live.clone()
            live.copy_(self.average[name])
            self.average[name].copy_(kept)

    def state(self) -> dict[str, Any]:
        """What must be kept to go on later."""
        return {"steps": self.steps, "average": {name: t.clone() for name, t in self.average.items()}}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        self.steps = state["steps"]
        for name, tensor in self.average.items():
            kept: Tensor = state["average"][name]
            tensor.copy_(kept)
