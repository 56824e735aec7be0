"""The addition `prototypes`: agreement of images and captions on soft assignments to trained prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from itm.methods.functional.swapped_prototypes import SwappedPrototypes
from itm.methods.method import Addition, Context, Embedded, Labels, Losses, Method, Term, step_of

if TYPE_CHECKING:
    from itm.config.additions import PrototypesParameters


class Prototypes(Addition):
    """Pairs that share a prototype are soft positives of each other, whatever their labels say."""

    train_only = True

    def __init__(self, parameters: PrototypesParameters, dimension: int) -> None:
        super().__init__()
        self.options = parameters
        self.swapped = SwappedPrototypes(
            torch.randn(parameters.count, dimension),
            learn=True,
            epsilon=parameters.epsilon,
            iterations=parameters.iterations,
            temperature=parameters.temperature,
        )

    def first_step(self, steps: int) -> int:
        """By `start`."""
        return step_of(self.options.start, steps)

    def losses(self, method: Method, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The swapped prediction, from the step `start` on."""
        if not self.training or context.step < self.first_step(context.steps):
            return Losses({})
        value: Tensor = self.swapped(images.embedding, texts.embedding, labels.owner)
        return Losses({"prototypes": Term(value, self.options.weight)})

    def after_step(self, method: Method, images: Embedded, texts: Embedded, labels: Labels) -> None:
        """Bring the prototypes back to unit length."""
        self.swapped.normalise()
