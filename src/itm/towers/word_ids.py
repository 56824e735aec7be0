"""Token ids of captions, with words masked, replaced and left out anew in each epoch of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itm.config.additions import WordsParameters
from itm.towers.hugging_face import Small, config_of, tokenize


@dataclass
class Changes:
    """Shares of words that are masked, replaced by random tokens, and left out, and the ids that takes."""

    masked: float
    replaced: float
    dropped: float
    mask: int
    vocabulary: int
    seed: int


@dataclass
class WordIds:
    """Token ids (texts, length), and the number of the word that each token is a piece of, -1 for none.

    changes: of training texts; None leaves them as they are. A text's draws are a function of seed, epoch and row, so
    that neither a resumed run nor the cut of a batch changes them.
    """

    ids: Small
    words: Small
    pad: int
    changes: Changes | None = None
    epoch: int = 0

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids of some texts, as they are in this epoch."""
        if self.changes is None:
            return self.ids[rows].astype(np.int64)
        return np.stack([self._changed(int(row), self.changes) for row in rows])

    def _changed(self, row: int, changes: Changes) -> NDArray[np.int64]:
        ids, words = self.ids[row].astype(np.int64), self.words[row]
        count = int(words.max(initial=-1)) + 1
        generator = np.random.default_rng([changes.seed, self.epoch, row])
        draw = generator.random(count + 1)
        draw[count] = 1.0  # what opens, closes and fills up stays: its number is -1
        at = draw[words]
        ids[at < changes.masked] = changes.mask
        replaced = (at >= changes.masked) & (at < changes.masked + changes.replaced)
        ids[replaced] = generator.integers(0, changes.vocabulary, int(replaced.sum()))
        touched = changes.masked + changes.replaced
        kept = ids[~((at >= touched) & (at < touched + changes.dropped))]
        return np.concatenate([kept, np.full(len(ids) - len(kept), self.pad, np.int64)])


def word_ids(options: WordsParameters, texts: Sequence[str], seed: int | None = None) -> WordIds:
    """The ids of texts; with a seed those of training, whose words change.

    Raises:
        ModelError: the model's tokenizer cannot be had.
    """
    ids, words, mask, vocabulary = tokenize(options.model, texts, options.length)
    changes = None
    if seed is not None:
        changes = Changes(options.masked, options.replaced, options.dropped, mask, vocabulary, seed)
    return WordIds(ids, words, int(config_of(options.model).pad_token_id or 0), changes)
