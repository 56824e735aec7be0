"""What stands in for descriptiveness in a control run: if one of these does as well, the score adds nothing."""

from __future__ import annotations

import numpy as np

from itm.errors import ConfigError, nearest

CONTROLS = ("word_count", "shuffled", "random")


def control_score(
    name: str, descriptiveness: np.ndarray, words: np.ndarray, splits: np.ndarray, seed: int = 0
) -> np.ndarray:
    """A control score of every caption, float64, to be normalised as d is.

    word_count: the number of words, stop words included; shuffled: the captions' d permuted within each
    split (the same distribution, no meaning); random: uniform in [0, 1).

    Args:
        name: one of `CONTROLS`.
        descriptiveness: d (captions,), float64.
        words: number of words (captions,).
        splits: split of each caption (captions,).
        seed: of the permutation and of the uniform numbers.

    Raises:
        ConfigError: unknown name.
    """
    if name == "word_count":
        return np.asarray(words, dtype=np.float64)
    generator = np.random.default_rng([seed, 0x5C0E])
    if name == "random":
        return generator.random(len(descriptiveness))
    if name == "shuffled":
        result = np.array(descriptiveness, dtype=np.float64)
        splits = np.asarray(splits)
        for split in sorted(set(splits.tolist())):
            rows = np.flatnonzero(splits == split)
            result[rows] = result[generator.permutation(rows)]
        return result
    raise ConfigError(f"control score '{name}': {nearest(name, CONTROLS)}", reason="unknown-name")
