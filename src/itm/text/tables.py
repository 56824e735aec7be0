"""Files of the score stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itm.config.data import ScoreParameters
from itm.data.files import PARQUET, atomic_path, read_arrow, readable, write_npz
from itm.errors import DataError
from itm.text.counts import DocumentFrequencies
from itm.text.idf import IdfTable, idf_table


def strings(column: pa.ChunkedArray) -> np.ndarray:
    """A string column as an object array (pyarrow's own conversion would start pandas)."""
    return np.array(column.to_pylist(), dtype=object)


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A string column as int64 codes and the distinct strings in order of appearance."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def write_idf(path: Path, table: IdfTable, words: pa.Array) -> np.ndarray:
    """Write idf.parquet and return the row (int64) of each of `words`.

    Rows are sorted by idf, highest first, then by word. `words` (sorted, distinct) are those of all captions:
    a word of dev and test captions that training never saw is listed with document frequency 0.
    N and the options are in the file's metadata, so that `read_idf` needs nothing else.
    """
    idf, keyword = table.look_up(words)
    frequency = table.frequency(words)
    order = np.lexsort((np.arange(len(words)), -idf))
    facts = {"documents": table.documents, "score": table.parameters.model_dump()}
    columns = {
        "word": words.take(pa.array(order)),
        "document_frequency": pa.array(frequency[order]),
        "idf": pa.array(idf[order]),
        "keyword": pa.array(keyword[order]),
    }
    written = pa.table(columns).replace_schema_metadata({"itm": json.dumps(facts, sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(written, temporary, **PARQUET)
    rows = np.empty(len(words), dtype=np.int64)
    rows[order] = np.arange(len(words))
    return rows


def read_idf(path: Path) -> IdfTable:
    """The idf table that the score stage wrote.

    Raises:
        DataError: the file is missing, or was not written by the score stage.
    """
    # the last two follow from the first; read, they are compared with their checksums
    table = read_arrow(path, ["word", "document_frequency", "idf", "keyword"])
    with readable(path):
        facts = json.loads((table.schema.metadata or {}).get(b"itm", b"{}"))
        if "documents" not in facts:
            raise DataError(
                f"{path}: does not say how many documents it counts; run `dvc repro score`", reason="damaged"
            )
        words = table["word"].combine_chunks()
        frequency = table["document_frequency"].to_numpy()
        order = pc.array_sort_indices(words).to_numpy()
        seen = order[frequency[order] > 0]
        return idf_table(
            DocumentFrequencies(words.take(pa.array(seen)), frequency[seen], int(facts["documents"])),
            ScoreParameters.model_validate(facts["score"]),
        )


def write_sparse(path: Path, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> None:
    """Write compressed rows as `scipy.sparse.load_npz` reads them, without loading SciPy."""
    compressed = {"data": data, "indices": indices, "indptr": indptr}
    write_npz(path, {"format": b"csr", "shape": np.array(shape, dtype=np.int64), **compressed, "_is_array": True})
