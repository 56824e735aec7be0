"""`evaluate`: one model's metrics on one benchmark, and the per-query values behind them."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from itm.config import BENCHMARKS, load
from itm.errors import ConfigError, DataError, nearest
from itm.stages.harness import outputs, run


def evaluate(
    benchmark: Annotated[str, typer.Option(help="one of `itm benchmarks`")],
    method: Annotated[str, typer.Option(help="entry of `method` in params.yaml")],
    seed: Annotated[int, typer.Option(help="training seed")],
    clean: Annotated[Path, typer.Option(help="folder of the clean tables")],
    scored: Annotated[Path, typer.Option(help="folder of the scored captions")],
    embeddings: Annotated[Path, typer.Option(help="folder of the embeddings")],
    grade: Annotated[Path, typer.Option(help="file with the model's calibrator")],
    metrics: Annotated[Path, typer.Option(help="folder for the metrics")],
    per_query: Annotated[Path, typer.Option(help="folder for the per-query values")],
) -> None:
    """Measure a model on a benchmark."""
    parameters = load()
    known = BENCHMARKS[parameters.data.name]
    if benchmark not in known:
        raise ConfigError(
            f"data set '{parameters.data.name}' has no benchmark '{benchmark}'; {nearest(benchmark, known)}"
        )
    logging.captureWarnings(True)
    warnings.simplefilter("always")
    from itm.evaluation.benchmarks import measure
    from itm.evaluation.result import Result, write_result
    from itm.evaluation.tables import Tables
    from itm.pipeline.products import products
    from itm.vectors.pipeline import read_embeddings

    found = read_embeddings(embeddings)
    split = parameters.encode.split
    if found.protocol.get("split") != split:
        raise DataError(
            f"{embeddings}: embeddings of the split '{found.protocol.get('split')}', but encode.split is '{split}';"
            " run `dvc repro encode`",
            reason="split",
        )
    with products(parameters.device) as multiply:
        found = replace(found, grade=grade, multiply=multiply)
        result = measure(benchmark, Tables(clean, scored, split), found, parameters.evaluate)
    protocol = {
        **result.protocol,
        "dataset": parameters.data.name,
        "split": split,
        "benchmark": benchmark,
        "method": method,
        "seed": seed,
        **{key: value for key, value in found.protocol.items() if key not in ("method", "seed", "split")},
    }
    with outputs():
        write_result(
            Result(result.metrics, result.per_query, protocol),
            metrics / f"{benchmark}.json",
            per_query / f"{benchmark}.npz",
            parameters.evaluate.digits,
        )


if __name__ == "__main__":
    run(evaluate)
