"""Seeded choices: every scene draws from generators of its own, so that any scene can be made alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np

from itm.data.layout import SPLITS

Value = TypeVar("Value")


class Use(IntEnum):
    """What a generator is for; a change in one use leaves the draws of the others as they are."""

    OBJECTS = 0
    CAPTIONS = 1
    CHAIN = 2
    PICTURE = 3
    HELD_OUT = 4
    RATINGS = 5


def generator(seed: int, use: Use, split: str = "train", index: int = 0) -> np.random.Generator:
    """The generator for one use, one split and one scene: a child of numpy's `SeedSequence(seed)`."""
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(use, SPLITS.index(split), index)))
    )


def pick(rng: np.random.Generator, options: Sequence[Value]) -> Value:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def happens(rng: np.random.Generator, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


def weighted(rng: np.random.Generator, weights: Mapping[Value, float]) -> Value:
    """One of the keys, as likely as its weight; weights need not sum to one."""
    rest = rng.random() * sum(weights.values())
    for value, weight in weights.items():
        rest -= weight
        if rest < 0:
            return value
    return value


def shuffled(rng: np.random.Generator, options: Sequence[Value]) -> list[Value]:
    """The options in a random order."""
    left = list(options)
    return [left.pop(int(rng.random() * len(left))) for _ in options]
