"""The outcome of an evaluation of a file: metrics, protocol, and a long table of per-query values."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import atomic_path, write_json
from itm.evaluation.keys import flat_metrics
from itm.evaluation.result import Metrics
from itm.metrics import HitRanks


@dataclass(eq=False)
class Report:
    """Metrics of several benchmarks, the protocol they followed, and the per-query values behind them."""

    metrics: Metrics = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    columns: list[tuple[str, str, str, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = field(
        default_factory=list
    )

    def ranks(
        self, benchmark: str, task: str, ranks: HitRanks, queries: NDArray[np.int64], groups: NDArray[np.int64]
    ) -> None:
        """Keep the ranks of one task, from 0; NaN for a query without an answer in the gallery."""
        for name, values in (
            ("rank", ranks.rank),
            ("rank_optimistic", ranks.optimistic),
            ("rank_pessimistic", ranks.pessimistic),
        ):
            if name == "rank" or (values != ranks.rank).any():
                self.values(benchmark, task, name, np.where(ranks.answerable, values, np.nan), queries, groups)

    def values(
        self,
        benchmark: str,
        task: str,
        metric: str,
        values: NDArray[np.float64],
        queries: NDArray[np.int64],
        groups: NDArray[np.int64],
    ) -> None:
        """Keep one metric of every query; `groups` names the image, the unit that is resampled."""
        self.columns.append((benchmark, task, metric, queries, groups, values))

    def to_json(self) -> dict[str, Any]:
        """Metrics under keys joined by '/', and the protocol; what is not a number is null."""
        values = {key: value if np.isfinite(value) else None for key, value in flat_metrics(self.metrics).items()}
        return {**values, "protocol": self.protocol}

    def write(self, metrics: Path | None, ranks: Path | None) -> None:
        """Write metrics.json and ranks.parquet, where a path is given: both, or neither where one cannot be."""
        with ExitStack() as files:
            if metrics is not None:
                write_json(files.enter_context(atomic_path(metrics)), self.to_json())
            if ranks is not None:
                self._write_ranks(files.enter_context(atomic_path(ranks)))

    def _write_ranks(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        sizes = [len(values) for *_, values in self.columns]
        table = {
            name: pa.array(np.repeat([column[at] for column in self.columns], sizes)).dictionary_encode()
            for at, name in enumerate(("benchmark", "task", "metric"))
        }
        for at, name in ((3, "query_id"), (4, "group_id"), (5, "value")):
            table[name] = pa.array(np.concatenate([column[at] for column in self.columns]))
        pq.write_table(pa.table(table), path, compression="zstd")
