"""The outcome of an evaluation of a file: metrics, protocol, and a long table of per-query values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import PARQUET, atomic_path, together, write_json
from itm.errors import DataError
from itm.evaluation.keys import flat_metrics
from itm.evaluation.published import mteb
from itm.evaluation.published.trec import Retrieval
from itm.evaluation.result import Metrics
from itm.metrics import HitRanks
from itm.vectors import Ids


@dataclass(eq=False)
class Report:
    """Metrics of several benchmarks, the protocol they followed, and the per-query values behind them.

    left_out: what could not be measured, and why, as sentences. notes: sentences on what to hold figures against.
    retrievals: the tasks behind hit rates, for `write_trec`.
    """

    metrics: Metrics = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    columns: list[tuple[str, str, str, Ids, Ids, NDArray[np.float64]]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    retrievals: list[Retrieval] = field(default_factory=list)

    def ranks(self, benchmark: str, task: str, ranks: HitRanks, queries: Ids, groups: Ids) -> None:
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
        queries: Ids,
        groups: Ids,
    ) -> None:
        """Keep one metric of every query; `groups` names the image, the unit that is resampled."""
        self.columns.append((benchmark, task, metric, queries, groups, values))

    def to_json(self) -> dict[str, Any]:
        """Metrics under keys joined by '/', and the protocol; what is not a number is null."""
        values = {key: value if np.isfinite(value) else None for key, value in flat_metrics(self.metrics).items()}
        return {**values, "protocol": self.protocol | ({"left_out": self.left_out} if self.left_out else {})}

    def add(self, name: str, part: Report) -> None:
        """Add what was found on one gallery."""
        self.metrics |= part.metrics
        self.protocol[name] = part.protocol
        self.retrievals += part.retrievals
        self.columns += part.columns
        self.left_out += part.left_out
        self.notes += part.notes

    def write_trec(self, folder: Path) -> None:
        """Write a run and its judgements for each retrieval task (`Retrieval.write`).

        Raises:
            DataError: no benchmark here has such a task.
        """
        if not self.retrievals:
            raise DataError("no benchmark here has runs to write: coco, cxc, flickr30k, flickr8k, pairs", reason="trec")
        for retrieval in self.retrievals:
            retrieval.write(folder)

    @together()
    def write(self, metrics: Path | None, ranks: Path | None = None) -> None:
        """Write metrics.json and ranks.parquet, where a path is given: both, or neither where one cannot be.

        Figures under the protocol "mteb" go into MTEB's own result files too (`mteb.result_files`).
        """
        if metrics is not None:
            write_json(metrics, self.to_json())
            found = self.metrics.get("mteb", {})
            for (name, direction), path in mteb.result_files(metrics, found).items():
                write_json(path, mteb.task_result(name, direction, found[name][direction]))
        if ranks is not None:
            import pyarrow as pa
            import pyarrow.parquet as pq

            sizes = [len(values) for *_, values in self.columns]
            table = {
                name: pa.array(np.repeat([column[at] for column in self.columns], sizes)).dictionary_encode()
                for at, name in enumerate(("benchmark", "task", "metric"))
            }
            for at, name in ((3, "query_id"), (4, "group_id"), (5, "value")):
                columns = [np.asarray(column[at]) for column in self.columns]
                if any(values.dtype.kind == "U" for values in columns):
                    columns = [values.astype(str) for values in columns]
                table[name] = pa.array(np.concatenate(columns))
            with atomic_path(ranks) as temporary:
                pq.write_table(pa.table(table), temporary, **PARQUET)
