"""Captions in any number, for benchmarks: words drawn by Zipf's law, deterministic from a seed.

Lengths are about those of COCO (mean 10.5 words), half of the tokens are stop words, and one in 500 words is
a one-off, so that the vocabulary grows with the corpus as it does on the web.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itm.text.stopwords import STOP_WORDS

WORDS = 40_000
PART = 100_000


def _vocabulary() -> np.ndarray:
    generator = np.random.default_rng(7)
    letters = np.array(list("aabcdeeefghiiklmnooprssttuvwy"))
    made: dict[str, None] = {}
    while len(made) < WORDS:
        lengths = 3 + generator.poisson(2.6, size=WORDS)
        for word in np.split(generator.choice(letters, int(lengths.sum())), np.cumsum(lengths)[:-1]):
            made["".join(word.tolist())] = None
    return np.array(list(made)[:WORDS], dtype=object)


def captions(count: int, seed: int = 0) -> list[str]:
    """`count` captions; more of them start with the same ones, by parts of 100,000."""
    vocabulary, stop = _vocabulary(), np.array(sorted(STOP_WORDS), dtype=object)
    frequency = 1 / (np.arange(WORDS) + 2.7) ** 1.05
    cumulative = np.cumsum(frequency / frequency.sum())
    found: list[str] = []
    for part in range(-(-count // PART)):
        generator = np.random.default_rng([seed, part])
        rows = min(PART, count - part * PART)
        lengths = np.clip(generator.poisson(8.5, rows) + 2, 2, 40)
        total = int(lengths.sum())
        words = vocabulary[np.minimum(np.searchsorted(cumulative, generator.random(total)), WORDS - 1)]
        function = generator.random(total) < 0.45
        words[function] = stop[(generator.random(int(function.sum())) ** 3 * len(stop)).astype(int)]
        odd = np.flatnonzero(generator.random(total) < 0.002)
        words[odd] = [f"x{value:x}" for value in generator.integers(1 << 40, size=len(odd)).tolist()]
        ends = np.cumsum(lengths).tolist()
        listed, start = words.tolist(), 0
        for end in ends:
            found.append(" ".join(listed[start:end]).capitalize() + ".")
            start = end
    return found


def write_parquet(path: Path, count: int, seed: int = 0) -> None:
    """Write captions to one parquet file (column text), part by part."""
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for part in range(-(-count // PART)):
            rows = min(PART, count - part * PART)
            texts = captions(rows, seed * 1_000_003 + part)
            writer.write_table(pa.table({"text": pa.array(texts, pa.string())}))
