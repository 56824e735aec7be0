"""The two passes of `itm.text.stream` as jobs over shards, for a scheduler: count, merge, score, finish.

    count    a shard  -> its document frequencies       (one job a shard)
    merge    all      -> idf table
    score    a shard  -> d of its captions              (one job a shard)
    finish   all      -> d and dn of all captions, in the order of the shards

Counts are integers and each caption's sum has a fixed order, so that any cut into shards gives the bits of
`itm.text.stream.score_files`. With `document: image` an image's captions must lie in one shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itm.data.files import PARQUET, atomic_path, read_arrow, readable
from itm.errors import DataError
from itm.text.chunks import count_chunk, read_chunks
from itm.text.counts import DocumentFrequencies, merge
from itm.text.descriptiveness import Descriptiveness, descriptiveness
from itm.text.idf import idf_table
from itm.text.normalisation import Normaliser, fit_normaliser
from itm.text.stream import FrequencySum, write_descriptiveness
from itm.text.tables import read_idf, write_idf

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters


def count_shard(shard: Path, out: Path, parameters: ScoreParameters) -> None:
    """Write the document frequencies of a shard's training captions (word, document_frequency; parquet)."""
    total = FrequencySum()
    for chunk in read_chunks([shard], by_image=parameters.document == "image"):
        total.add(count_chunk(chunk)[1])
    found = total.total()
    table = pa.table({"word": found.words, "document_frequency": pa.array(found.counts)})
    with atomic_path(out) as temporary:
        pq.write_table(table.replace_schema_metadata({"documents": str(found.documents)}), temporary, **PARQUET)


def merge_counts(counted: Sequence[Path], out: Path, parameters: ScoreParameters) -> None:
    """Write the idf table of all shards; see `itm.text.tables.read_idf`."""
    table = idf_table(merge(_read_counts(path) for path in counted), parameters)
    write_idf(out, table, table.words)


def score_shard(shard: Path, idf: Path, out: Path) -> None:
    """Write d of a shard's captions (descriptiveness, words, keywords, training; parquet)."""
    table = read_idf(idf)
    known = table.above_cap()
    schema = pa.schema(
        [
            ("descriptiveness", pa.float64()),
            ("words", pa.int32()),
            ("keywords", pa.int32()),
            ("training", pa.bool_()),
        ]
    )
    with atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema, **PARQUET) as writer:
        for chunk in read_chunks([shard], by_image=table.parameters.document == "image"):
            found = descriptiveness(count_chunk(chunk)[0], known)
            training = np.ones(len(chunk.texts), dtype=bool) if chunk.training is None else chunk.training
            columns = [found.descriptiveness, found.words, found.keywords, training]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


def finish(scored: Sequence[Path], idf: Path, out: Path) -> Normaliser:
    """Write one table of all shards' captions with dn; see `itm.text.stream.score_files` for its columns."""
    training = [
        table["descriptiveness"].to_numpy()[table["training"].to_numpy()]
        for table in (read_arrow(path, ["descriptiveness", "training"]) for path in scored)
    ]
    normaliser = fit_normaliser(np.concatenate([np.zeros(0), *training]), read_idf(idf).parameters)
    with atomic_path(out) as temporary:
        write_descriptiveness(temporary, _read_descriptiveness(scored), normaliser)
    return normaliser


def _read_counts(path: Path) -> DocumentFrequencies:
    table = read_arrow(path, ["word", "document_frequency"])
    with readable(path, "run `count` again"):
        documents = (table.schema.metadata or {}).get(b"documents")
        if documents is None:
            raise DataError(f"{path}: does not say how many documents it counts; run `count` again", reason="damaged")
        words = table["word"].combine_chunks()
        return DocumentFrequencies(words, table["document_frequency"].to_numpy(), int(documents))


def _read_descriptiveness(paths: Sequence[Path]) -> Iterator[Descriptiveness]:
    for path in paths:
        table = read_arrow(path, ["descriptiveness", "words", "keywords"])
        yield Descriptiveness(*(table[name].to_numpy() for name in table.column_names))
