"""Vectors of runs and indexes as Parquet, for other programs and for `itm evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm.data.layout import EMBEDDINGS, MODEL_CARD
from itm.errors import ConfigError, DataError
from itm.index.vectors import open_index
from itm.vectors import Vectors, check_ids, read_vectors
from itm.vectors.parquet import EMBEDDINGS_OF, IDS, Arrays, write_parquet


def export_vectors(source: Path, out: Path) -> dict[str, int]:
    """Write the vectors of embeddings/METHOD/seedN, of an index, or of a file that `itm evaluate` reads; their counts.

    Raises:
        ConfigError: `source` is a model's folder, which holds no vectors.
        DataError: the source is missing or damaged, or holds vectors that cannot be written as they are.
    """
    if (source / MODEL_CARD).is_file():
        raise ConfigError(
            f"{source}: a model has no vectors of its own; give embeddings/METHOD/seedN (`dvc repro encode`), a file "
            "of `itm evaluate --keep`, or an index of `itm index`",
            reason="no-vectors",
        )
    own = source / EMBEDDINGS
    vectors = read_vectors(own if own.is_file() else source)
    if {"names", "vectors"} <= vectors.arrays.keys():
        index = open_index(source)
        vectors = Vectors(source, {"image_ids": np.array(index.names), "image_embeddings": index.vectors})
    if not (found := _checked(vectors)):
        raise DataError(f"{source}: no vectors; it holds {', '.join(sorted(vectors.arrays))}", reason="no-vectors")
    return write_parquet(out, found)


def _checked(vectors: Vectors) -> Arrays:
    """The embeddings and ids, none of them damaged."""
    found: Arrays = {}
    for kind, name in EMBEDDINGS_OF.items():
        if name in vectors.arrays:
            found[name] = vectors.embeddings(name, normalize=False, dimensions=1 if kind == "root" else 2)
            for ids in filter(vectors.arrays.__contains__, IDS.get(kind, {}).values()):
                unique = ids != "caption_image_ids"
                where = f"{vectors.path}: {ids}"
                found[ids] = check_ids(vectors.arrays[ids], where, rows=len(found[name]), unique=unique)
    return found
