"""The clean captions as one corpus, their descriptiveness, and the files that the score stage writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itm.data.files import PARQUET, atomic_path, read_arrow
from itm.data.layout import CAPTIONS, IDF, KEYWORDS
from itm.errors import DataError
from itm.text.counts import WordCounts, count_words, document_frequencies, select
from itm.text.descriptiveness import Descriptiveness, descriptiveness, keyword_matrix
from itm.text.idf import IdfTable, idf_table
from itm.text.normalisation import Normaliser, fit_normaliser
from itm.text.tables import codes, strings, write_idf, write_sparse

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters


@dataclass(frozen=True)
class Corpus:
    """Captions of all splits; row i is row i of the clean captions."""

    folder: Path
    caption_ids: np.ndarray
    images: np.ndarray
    """int64 code of the caption's image; equal within a split only for captions of one image."""
    splits: np.ndarray
    """objects: train, dev or test."""
    levels: np.ndarray
    """True level, -1 = unknown."""
    multiplicity: np.ndarray
    """True number of images of the split that the caption fits, -1 = unknown."""
    counts: WordCounts

    def __len__(self) -> int:
        return len(self.caption_ids)

    @property
    def training(self) -> np.ndarray:
        """Rows of the training captions."""
        return np.flatnonzero(self.splits == "train")


@dataclass(frozen=True)
class Scored:
    """What the score stage knows of a corpus."""

    idf: IdfTable
    captions: Descriptiveness
    normaliser: Normaliser
    normalised: np.ndarray
    """dn, float32."""


def read_corpus(folder: Path) -> Corpus:
    """The clean captions of a folder, counted.

    Raises:
        DataError: the table is missing, lacks a column or has missing texts; or there are no training captions.
    """
    path = folder / CAPTIONS
    table = read_arrow(path, ["caption_id", "image_id", "split", "text", "level", "multiplicity"])
    corpus = Corpus(
        folder=folder,
        caption_ids=table["caption_id"].to_numpy(),
        images=codes(table["image_id"])[0],
        splits=strings(table["split"]),
        levels=table["level"].to_numpy(),
        multiplicity=table["multiplicity"].to_numpy(),
        counts=count_words(table["text"], f"{path}, column text"),
    )
    if not len(corpus.training):
        raise DataError(f"{path}: none of {len(corpus)} captions is in the split 'train'", reason="empty")
    return corpus


def score_corpus(corpus: Corpus, parameters: ScoreParameters) -> Scored:
    """The descriptiveness of all captions; document frequencies and quantiles are those of the training captions."""
    training = corpus.training
    groups = corpus.images[training] if parameters.document == "image" else None
    idf = idf_table(document_frequencies(select(corpus.counts, training), groups), parameters)
    own = np.where(corpus.splits == "train", corpus.images, -1)
    captions = score_counts(corpus.counts, corpus, idf, own)
    normaliser = fit_normaliser(captions.descriptiveness[training], parameters)
    return Scored(idf, captions, normaliser, normaliser(captions.descriptiveness))


def score_counts(table: WordCounts, corpus: Corpus, idf: IdfTable, own: np.ndarray | None = None) -> Descriptiveness:
    """The descriptiveness of any counted texts, by the kind of score that the parameters choose.

    Args:
        table: counts of the texts.
        corpus: holds the training captions.
        idf: their idf table.
        own: image code of each text that is itself a training caption, else -1; None: all -1.
    """
    found = descriptiveness(table, idf)
    if idf.parameters.kind != "expected_fit":
        return found
    from itm.text.expected_fit import expected_fit

    training = corpus.training
    d = expected_fit(table, idf, select(corpus.counts, training), corpus.images[training], own)
    return replace(found, descriptiveness=d)


def scored_table(corpus: Corpus, scored: Scored) -> pa.Table:
    """captions.parquet of the score stage: a row for each caption, in their order."""
    return pa.table(
        {
            "caption_id": pa.array(corpus.caption_ids),
            "descriptiveness": pa.array(scored.captions.descriptiveness),
            "normalised": pa.array(scored.normalised),
            "words": pa.array(scored.captions.words),
            "keywords": pa.array(scored.captions.keywords),
        }
    )


def write_scored(folder: Path, corpus: Corpus, scored: Scored) -> None:
    """Write captions.parquet, keywords.npz and idf.parquet; equal values give equal bytes.

    The columns of keywords.npz are the rows of idf.parquet.
    """
    with atomic_path(folder / CAPTIONS) as temporary:
        pq.write_table(scored_table(corpus, scored), temporary, **PARQUET)
    columns = write_idf(folder / IDF, scored.idf, corpus.counts.words)
    data, indices, indptr = keyword_matrix(corpus.counts, scored.idf, columns)
    write_sparse(folder / KEYWORDS, data, indices, indptr, (len(corpus), len(columns)))
