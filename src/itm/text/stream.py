"""Descriptiveness of captions that do not fit into memory: two passes over chunks, by several workers.

Pass 1 counts each chunk's words once, sets the counts aside in a scratch folder (about 3 bytes a word) and
adds up document frequencies; pass 2 sums each caption's TF-IDF from those counts. Held in memory: a few
chunks, the words' frequencies, and d itself (8 bytes a caption) for the exact quantiles of dn.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itm.data.files import PARQUET, atomic_path
from itm.errors import ConfigError
from itm.text.chunks import CHUNK, Chunk, count_chunk, read_chunks
from itm.text.counts import DocumentFrequencies, WordCounts, merge
from itm.text.descriptiveness import Descriptiveness, descriptiveness
from itm.text.idf import IdfTable, idf_table
from itm.text.normalisation import Normaliser, fit_normaliser
from itm.text.tables import read_idf, write_idf

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters


class FrequencySum:
    """Document frequencies added up; compacted now and then, so that memory follows the vocabulary."""

    def __init__(self) -> None:
        self._parts: list[DocumentFrequencies] = []
        self._limit = 2_000_000

    def add(self, part: DocumentFrequencies) -> None:
        """Count a part in."""
        self._parts.append(part)
        if sum(len(part.words) for part in self._parts) > self._limit:
            self._parts = [merge(self._parts)]
            self._limit = max(self._limit, 2 * len(self._parts[0].words))

    def total(self) -> DocumentFrequencies:
        """The sum of all parts so far."""
        return merge(self._parts)


@dataclass(frozen=True)
class StreamScores:
    """The result of a streaming run."""

    idf: IdfTable
    normaliser: Normaliser
    captions: int


def score_files(
    paths: Sequence[Path],
    out: Path,
    parameters: ScoreParameters,
    workers: int = 1,
    use: Literal["threads", "processes"] = "threads",
    size: int = CHUNK,
    progress: Callable[[int], None] = lambda captions: None,
) -> StreamScores:
    """Score the captions of parquet files and write one table: a row a caption, in the order of the files.

    Columns as in the score stage's captions.parquet, without ids: descriptiveness, normalised, words, keywords.
    The values are the same bits for any number of workers, chunk size or cut of the captions into files.

    Args:
        paths: parquet files; see `read_chunks`.
        out: parquet file to write.
        parameters: options of the score.
        workers: chunks that are worked on at a time; 1 works in this thread.
        use: what the workers are. Threads start at once and share memory; nearly all work is done without the
            interpreter's lock. Processes take a second to start and receive copies; they pay off on many cores.
        size: captions a chunk.
        progress: called with the captions done, which are counted once a pass.

    Raises:
        ConfigError: `kind: expected_fit`, which is not a sum over words.
        DataError: a file cannot be read or holds a missing text; or there are no training captions.
    """
    if parameters.kind == "expected_fit":
        raise ConfigError(
            "score.kind = expected_fit compares captions with training images, in memory; files are scored by tfidf "
            "or keyword_count",
            reason="not-streamed",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    by_image = parameters.document == "image"
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=out.parent) as folder, _pool(workers, use) as pool:
        scratch = Path(folder)
        frequencies = FrequencySum()
        training: list[np.ndarray | None] = []
        jobs = (
            (chunk, scratch / f"{number}.npy") for number, chunk in enumerate(_noting(paths, by_image, size, training))
        )
        sizes = []
        for captions, part in _in_order(pool, _first_pass, jobs, workers):
            frequencies.add(part)
            sizes.append(captions)
            progress(captions)
        idf = idf_table(frequencies.total(), parameters)
        kept = scratch / "idf.parquet"
        common = idf.above_cap()
        write_idf(kept, common, common.words)
        again = ((scratch / f"{number}.npy", kept) for number in range(len(sizes)))
        parts = []
        for found in _in_order(pool, _second_pass, again, workers):
            parts.append(found)
            progress(len(found.words))
    return _write(out, idf, parts, training, parameters)


def normalise_parts(
    parts: Sequence[np.ndarray], training: Sequence[np.ndarray | None], parameters: ScoreParameters
) -> Normaliser:
    """The normaliser fitted on the training rows of all parts of d."""
    kept = [part if rows is None else part[rows] for part, rows in zip(parts, training, strict=True)]
    return fit_normaliser(np.concatenate(kept) if kept else np.zeros(0), parameters)


def _write(
    out: Path,
    idf: IdfTable,
    parts: list[Descriptiveness],
    training: list[np.ndarray | None],
    parameters: ScoreParameters,
) -> StreamScores:
    normaliser = normalise_parts([part.descriptiveness for part in parts], training, parameters)
    with atomic_path(out) as temporary:
        write_descriptiveness(temporary, parts, normaliser)
    return StreamScores(idf, normaliser, sum(len(part.words) for part in parts))


def write_descriptiveness(path: Path, parts: Iterable[Descriptiveness], normaliser: Normaliser) -> None:
    """Write descriptiveness part by part as one parquet file."""
    schema = pa.schema(
        [
            ("descriptiveness", pa.float64()),
            ("normalised", pa.float32()),
            ("words", pa.int32()),
            ("keywords", pa.int32()),
        ]
    )
    with pq.ParquetWriter(path, schema, **PARQUET, use_dictionary=["words", "keywords"]) as writer:
        for part in parts:
            columns = [part.descriptiveness, normaliser(part.descriptiveness), part.words, part.keywords]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


def _first_pass(chunk: Chunk, scratch: Path) -> tuple[int, DocumentFrequencies]:
    counts, frequencies = count_chunk(chunk)
    with scratch.open("wb") as file:
        for array in (_small(np.diff(counts.indptr)), _small(counts.codes), _small(counts.counts)):
            np.save(file, array)
        with pa.ipc.new_stream(file, pa.schema([("word", pa.string())])) as writer:
            writer.write_table(pa.table({"word": counts.words}))
    return len(counts), frequencies


@lru_cache(maxsize=1)
def _idf(path: Path) -> IdfTable:
    return read_idf(path)


def _second_pass(scratch: Path, idf: Path) -> Descriptiveness:
    with scratch.open("rb") as file:
        lengths, codes, counts = (np.load(file, allow_pickle=False) for _ in range(3))
        words = pa.ipc.open_stream(file).read_all()["word"].combine_chunks()
    scratch.unlink()
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return descriptiveness(WordCounts(words, indptr, codes.astype(np.int32), counts.astype(np.int32)), _idf(idf))


def _small(values: np.ndarray) -> np.ndarray:
    """The values in the smallest unsigned type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


class _Here(Executor):
    """Runs in this process."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


def _pool(workers: int, use: str) -> Executor:
    if workers <= 1:
        return _Here()
    if use == "threads":
        return ThreadPoolExecutor(workers)
    # spawned, not forked: Arrow has threads of its own
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _in_order(pool: Executor, function: Any, jobs: Iterable[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Results of the jobs in their order, with at most two jobs a worker under way."""
    waiting: deque[Future[Any]] = deque()
    for job in jobs:
        waiting.append(pool.submit(function, *job))
        if len(waiting) >= 2 * max(workers, 1):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _noting(paths: Sequence[Path], by_image: bool, size: int, training: list[np.ndarray | None]) -> Iterator[Chunk]:
    for chunk in read_chunks(paths, by_image, size):
        training.append(chunk.training)
        yield chunk
