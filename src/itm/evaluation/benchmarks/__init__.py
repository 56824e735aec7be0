"""Benchmarks: tables and embeddings in, metrics and per-query values out. One module a benchmark."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itm.config.parameters import EvaluateParameters
    from itm.evaluation.result import Result
    from itm.evaluation.tables import Tables
    from itm.vectors.pipeline import Embeddings


def measure(benchmark: str, tables: Tables, embeddings: Embeddings, options: EvaluateParameters) -> Result:
    """What the benchmark of that name (one of `itm.config.BENCHMARK_NAMES`) finds."""
    found: Result = import_module(f"{__name__}.{benchmark}").evaluate(tables, embeddings, options)
    return found
