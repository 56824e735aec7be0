"""Several runs as one: the mean of their similarities, evaluated on the same benchmarks as a run.

Where all runs score by inner product, so does the mean: by the runs' vectors side by side. With a pairwise run among
them the scores of all pairs are averaged, and the vectors side by side stand in as they do for that run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config import BENCHMARKS, Parameters
from itm.errors import ConfigError, DataError, first_few, nearest
from itm.evaluation.benchmarks import measure
from itm.evaluation.result import Metrics, Result, rounded
from itm.evaluation.tables import Tables
from itm.vectors.ids import positions
from itm.vectors.pipeline import Embeddings, read_embeddings


def ensemble(runs: Sequence[Embeddings], names: Sequence[str], *, standardise: bool = False) -> Embeddings:
    """Embeddings whose similarity is the mean of the runs' similarities.

    Args:
        runs: at least two, of the same images and texts in any order.
        names: of the runs, for messages and the protocol.
        standardise: divide each run's similarities by their standard deviation over all its pairs first, so that a
            method with large scores does not outvote one with small scores.

    Raises:
        DataError: fewer than two runs; runs of different splits, images or texts (reasons "runs", "split", "ids"); or
            a run to standardise whose similarities are all the same ("collapsed").
    """
    if len(runs) < 2:
        raise DataError(f"an ensemble needs two runs or more, and {len(runs)} is named", reason="runs")
    first = runs[0]
    for run, name in zip(runs[1:], names[1:], strict=True):
        _check_same(first, run, names[0], name)
    pairwise = next((run for run in runs if run.scores is not None), None)
    weights = [1.0] * len(runs)
    if standardise:
        weights = [1 / _deviation(run, name) for run, name in zip(runs, names, strict=True)]
    share = [math.sqrt((weight if run.scores is None else 1) / len(runs)) for weight, run in zip(weights, runs)]  # noqa: B905
    image = np.concatenate([w * run.images(first.image_ids) for w, run in zip(share, runs, strict=True)], 1)
    text = np.concatenate([w * run.texts(first.text_ids) for w, run in zip(share, runs, strict=True)], 1)
    protocol: dict[str, Any] = {
        "split": first.protocol.get("split"),
        "similarity": "dot" if pairwise is None else "pairwise",
        "width": text.shape[1],
        "runs": list(names),
        "standardised": standardise,
    }
    found = Embeddings(first.image_ids, image, first.text_ids, text, protocol)
    if pairwise is None or pairwise.scored_images is None or pairwise.scored_texts is None:
        return found
    ids = pairwise.scored_images, pairwise.scored_texts
    total = np.zeros((len(ids[0]), len(ids[1])))
    for weight, run in zip(weights, runs, strict=True):
        total += weight * _all_pairs(run, *ids)
    scores = (total / len(runs)).astype(np.float32)
    return replace(found, scores=scores, scored_images=ids[0], scored_texts=ids[1])


def evaluate_runs(
    folders: Sequence[Path],
    parameters: Parameters,
    benchmarks: Sequence[str],
    tables: tuple[Path, Path],
    *,
    standardise: bool = False,
    evaluations: Path = Path(),
) -> tuple[dict[str, Metrics], dict[Path, Result]]:
    """The metrics of the runs' mean on each benchmark, as the evaluate stage computes those of one run.

    Beside them the per-query values by file, for `itm.evaluation.result.write_together`.

    Args:
        folders: of the runs' embeddings.
        parameters: whose data set, evaluation options and rounding apply.
        benchmarks: by name; none = those of `parameters`.
        tables: folders of the clean tables and of the scored captions.
        standardise: as for `ensemble`.
        evaluations: folder for the per-query values, one file a benchmark.

    Raises:
        ConfigError: the data set lacks a benchmark.
    """
    known = BENCHMARKS[parameters.data.name]
    names = list(benchmarks) or parameters.benchmarks
    for name in names:
        if name not in known:
            raise ConfigError(f"data set '{parameters.data.name}' has no benchmark '{name}'; {nearest(name, known)}")
    runs = [read_embeddings(folder) for folder in folders]
    together = ensemble(
        runs, [_label(run, path) for run, path in zip(runs, folders, strict=True)], standardise=standardise
    )
    split = together.protocol["split"]
    found: dict[str, Metrics] = {}
    results: dict[Path, Result] = {}
    for name in names:
        result = measure(name, Tables(*tables, split), together, parameters.evaluate)
        found[name] = rounded(result.metrics, parameters.evaluate.digits)
        whole = {**result.protocol, **together.protocol, "dataset": parameters.data.name, "benchmark": name}
        results[evaluations / f"{name}.npz"] = replace(result, protocol=whole)
    return found, results


def _label(run: Embeddings, folder: Path) -> str:
    method, seed = run.protocol.get("method"), run.protocol.get("seed")
    return str(folder) if method is None else f"{method} seed {seed}"


def _check_same(first: Embeddings, run: Embeddings, name: str, other: str) -> None:
    split, second = first.protocol.get("split"), run.protocol.get("split")
    if split != second:
        raise DataError(f"{name} is of the split '{split}' and {other} of '{second}'", reason="split")
    for what, ours, theirs in (("images", first.image_ids, run.image_ids), ("texts", first.text_ids, run.text_ids)):
        different = np.setxor1d(ours, theirs)
        if len(different):
            raise DataError(
                f"{name} and {other} are not of the same {what}: {len(different)} are in one only "
                f"({first_few(different)}); encode both with the same data",
                reason="ids",
            )


def _deviation(run: Embeddings, name: str) -> float:
    """The standard deviation of a run's similarities over all its pairs."""
    if run.scores is not None:
        found = float(run.scores.std(dtype=np.float64))
    else:
        image, text = run.image.astype(np.float64), run.text.astype(np.float64)
        middle_image, middle_text = image.mean(0), text.mean(0)
        spread_image, spread_text = np.cov(image.T, bias=True), np.cov(text.T, bias=True)
        # image and text vary independently over all pairs, so that the variance of their product has three parts
        found = math.sqrt(
            middle_image @ spread_text @ middle_image
            + middle_text @ spread_image @ middle_text
            + float((spread_image * spread_text).sum())
        )
    if not found > 1e-12:
        raise DataError(f"{name}: all similarities are the same; leave the run out", reason="collapsed")
    return found


def _all_pairs(run: Embeddings, image_ids: NDArray[Any], text_ids: NDArray[Any]) -> NDArray[np.float32]:
    if run.scores is None or run.scored_images is None or run.scored_texts is None:
        products = run.images(image_ids) @ run.texts(text_ids).T
        return products.astype(np.float32, copy=False)
    rows = positions(run.scored_images, image_ids, "images' scores", "ensemble")
    columns = positions(run.scored_texts, text_ids, "texts' scores", "ensemble")
    chosen: NDArray[np.float32] = run.scores[np.ix_(rows, columns)].astype(np.float32)
    return chosen
