"""Inverse document frequencies: the rarity of words in the training captions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itm.errors import DataError
from itm.text.counts import DocumentFrequencies

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters


@dataclass(frozen=True)
class IdfTable:
    """The idf of every training word, and of words that training never saw."""

    words: pa.Array
    """Sorted (strings)."""
    document_frequency: np.ndarray
    """int64."""
    idf: np.ndarray
    """float64."""
    keyword: np.ndarray
    """bool: counts towards the score (`keywords: content` leaves stop words out)."""
    documents: int
    """N."""
    parameters: ScoreParameters

    def look_up(self, words: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The idf (float64) and keyword mark (bool) of any words; unseen ones have document frequency 0."""
        place, seen = self._places(words)
        unseen = float(_inverse(np.zeros(1, dtype=np.int64), self.documents, self.parameters)[0])
        idf = np.full(len(words), unseen)
        idf[seen] = self.idf[place[seen]]
        return idf, is_keyword(words, self.parameters)

    def frequency(self, words: pa.Array) -> np.ndarray:
        """The document frequency of any words, int64; 0 for unseen ones."""
        place, seen = self._places(words)
        frequency = np.zeros(len(words), dtype=np.int64)
        frequency[seen] = self.document_frequency[place[seen]]
        return frequency

    def above_cap(self) -> IdfTable:
        """The same table without the words that have the idf of an unseen word: `look_up` says the same.

        Most words are that rare, so that this one stays small where the vocabulary grows with the corpus.
        """
        kept = self.document_frequency > self.parameters.minimum_document_frequency
        return replace(
            self,
            words=self.words.filter(pa.array(kept)),
            document_frequency=self.document_frequency[kept],
            idf=self.idf[kept],
            keyword=self.keyword[kept],
        )

    def _places(self, words: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        place = pc.fill_null(pc.index_in(words, value_set=self.words), -1).to_numpy(zero_copy_only=False)
        return place, place >= 0


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


def is_keyword(words: pa.Array, parameters: ScoreParameters) -> np.ndarray:
    """Which words count towards the score, bool."""
    if parameters.keywords == "all":
        return np.ones(len(words), dtype=bool)
    stop = pc.is_in(words, value_set=pa.array(sorted(STOP_WORDS), pa.string()))
    return np.asarray(pc.invert(stop).to_numpy(zero_copy_only=False))


def _inverse(frequency: np.ndarray, documents: int, parameters: ScoreParameters) -> np.ndarray:
    floored = np.maximum(frequency, min(parameters.minimum_document_frequency, documents))
    if parameters.idf == "smooth":
        return np.asarray(np.log((1 + documents) / (1 + floored)) + 1)
    return np.asarray(np.log(documents / floored))


_CLASSES = {
    "articles and determiners": "a an the this that these those some any each every either neither such",
    "pronouns": """i me my mine myself we us our ours ourselves you your yours yourself he him his himself she her hers
        herself it its itself they them their theirs themselves who whom whose which what there here""",
    "auxiliaries": """am is are was were be been being do does did doing done have has had having
        can could may might must shall should will would""",
    "conjunctions": "and or but nor so if while as than then when where because though although",
    "plain prepositions": "of to in on at by for from with into onto",
    "fillers": "just very also too only other another same own",
    "left by apostrophes": "s t d m ll re ve don doesn didn isn aren wasn weren hasn haven couldn wouldn shouldn",
}

STOP_WORDS: frozenset[str] = frozenset(word for words in _CLASSES.values() for word in words.split())
"""All of them, as `itm.text.tokens` writes words."""
