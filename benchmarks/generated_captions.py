"""Captions in any number, for benchmarks: words drawn by Zipf's law, deterministic from a seed.

Lengths are about those of COCO (mean 10.5 words), nearly half of the tokens are stop words, and one in 500 is a
one-off, so that the vocabulary grows with the corpus as it does on the web.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itm.text.idf import STOP_WORDS

WORDS = 40_000
PART = 100_000


def captions(count: int, seed: int = 0) -> pa.ChunkedArray:
    """`count` captions as an Arrow column; more of them start with the same ones, by parts of 100,000."""
    made = _Words()
    return pa.chunked_array([made.part(min(PART, count - start), seed, start) for start in range(0, count, PART)])


def write_parquet(path: Path, count: int, seed: int = 0) -> None:
    """Write captions to one parquet file (column text), part by part."""
    made = _Words()
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for start in range(0, count, PART):
            writer.write_table(pa.table({"text": made.part(min(PART, count - start), seed, start)}))


class _Words:
    def __init__(self) -> None:
        generator = np.random.default_rng(7)
        letters = np.array(list("aabcdeeefghiiklmnooprssttuvwy"))
        made: dict[str, None] = {}
        while len(made) < WORDS:
            lengths = 3 + generator.poisson(2.6, size=WORDS)
            for word in np.split(generator.choice(letters, int(lengths.sum())), np.cumsum(lengths)[:-1]):
                made["".join(word.tolist())] = None
        self.stop = sorted(STOP_WORDS)
        self.all = pa.array(list(made)[:WORDS] + self.stop)
        frequency = 1 / (np.arange(WORDS) + 2.7) ** 1.05
        self.cumulative = np.cumsum(frequency / frequency.sum())

    def part(self, rows: int, seed: int, start: int) -> pa.Array:
        generator = np.random.default_rng([seed, start])
        lengths = np.clip(generator.poisson(8.5, PART) + 2, 2, 40)[:rows]
        total = int(lengths.sum())
        codes = np.minimum(np.searchsorted(self.cumulative, generator.random(total)), WORDS - 1)
        function = generator.random(total) < 0.45
        codes[function] = WORDS + (generator.random(int(function.sum())) ** 3 * len(self.stop)).astype(int)
        odd = generator.random(total) < 0.002
        single = pa.array([f"x{value:x}" for value in generator.integers(1 << 40, size=int(odd.sum())).tolist()])
        words = pc.replace_with_mask(self.all.take(pa.array(codes)), pa.array(odd), single)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, words), " ")
        return pc.binary_join_element_wise(pc.utf8_capitalize(joined), ".", "")
