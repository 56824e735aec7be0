"""Inverse document frequencies: how rare a word is in the training captions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itm.config.data import ScoreParameters
from itm.errors import DataError
from itm.text.frequencies import DocumentFrequencies
from itm.text.stopwords import STOP_WORDS


@dataclass(frozen=True)
class IdfTable:
    """The idf of every training word, and of words that training never saw."""

    words: np.ndarray
    """Sorted (objects, `str`)."""
    document_frequency: np.ndarray
    """int64."""
    idf: np.ndarray
    """float64."""
    keyword: np.ndarray
    """bool: counts towards the score (`keywords: content` leaves stop words out)."""
    documents: int
    """N."""
    parameters: ScoreParameters

    def look_up(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The idf (float64) and keyword mark (bool) of any words; unseen ones have document frequency 0."""
        place, seen = self._places(words)
        unseen = float(_inverse(np.zeros(1, dtype=np.int64), self.documents, self.parameters)[0])
        idf = np.full(len(words), unseen)
        idf[seen] = self.idf[place[seen]]
        return idf, is_keyword(words, self.parameters)

    def frequency(self, words: np.ndarray) -> np.ndarray:
        """The document frequency of any words, int64; 0 for unseen ones."""
        place, seen = self._places(words)
        frequency = np.zeros(len(words), dtype=np.int64)
        frequency[seen] = self.document_frequency[place[seen]]
        return frequency

    def _places(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(self.words):
            return np.zeros(len(words), dtype=np.int64), np.zeros(len(words), dtype=bool)
        place = np.minimum(np.searchsorted(self.words, words), len(self.words) - 1)
        return place, self.words[place] == words


def idf_table(frequencies: DocumentFrequencies, parameters: ScoreParameters) -> IdfTable:
    """The idf table of a training corpus.

    smooth: idf = ln((1 + N) / (1 + df)) + 1, as scikit-learn; plain: idf = ln(N / df), where df is at
    least `minimum_document_frequency` (and at most N). Without that floor a typo, which occurs once,
    would be the most descriptive word there is.

    Raises:
        DataError: there are no documents.
    """
    if frequencies.documents == 0:
        raise DataError("score: no training captions to count words in; check the split column", reason="empty")
    return IdfTable(
        frequencies.words,
        frequencies.counts,
        _inverse(frequencies.counts, frequencies.documents, parameters),
        is_keyword(frequencies.words, parameters),
        frequencies.documents,
        parameters,
    )


def is_keyword(words: np.ndarray, parameters: ScoreParameters) -> np.ndarray:
    """Which words count towards the score, bool."""
    if parameters.keywords == "all":
        return np.ones(len(words), dtype=bool)
    return np.array([word not in STOP_WORDS for word in words.tolist()], dtype=bool)


def _inverse(frequency: np.ndarray, documents: int, parameters: ScoreParameters) -> np.ndarray:
    floored = np.maximum(frequency, min(parameters.minimum_document_frequency, documents))
    if parameters.idf == "smooth":
        return np.asarray(np.log((1 + documents) / (1 + floored)) + 1)
    return np.asarray(np.log(documents / floored))
