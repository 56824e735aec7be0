"""Training curves (dev RSUM of all methods, loss and terms of each), and costs of each method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from itm.data.files import read_json
from itm.report.plots import Series, lines
from itm.report.results import Results, read_history

Histories = Mapping[str, Sequence[Mapping[str, Sequence[float]]]]
SELECTED_BY = "dev_rsum"
FIGURES = {
    "learning_rate": "learning rate",
    "relaxed_share": "relaxed share of unlabelled pairs",
    "temperature": "temperature",
    "gradient_norm": "gradient norm before clipping",
}
"""Columns of a history that are no loss terms, with a chart each."""
NO_TERMS = {"epoch", *FIGURES}


def read_histories(runs: Path, methods: Sequence[str], seeds: Sequence[int]) -> dict[str, list[dict[str, list[float]]]]:
    """The history of each method, one a seed; methods without any are left out."""
    found = {m: [h for s in seeds if (h := read_history(runs / m / f"seed{s}" / "history.csv"))] for m in methods}
    return {method: histories for method, histories in found.items() if histories}


def over_seeds(histories: Sequence[Mapping[str, Sequence[float]]], name: str, label: str) -> Series | None:
    """One figure against the epoch: mean over seeds and sample standard deviation; None where it is not recorded."""
    having = [h for h in histories if name in h and "epoch" in h]
    if not having:
        return None
    epochs = min((h["epoch"] for h in having), key=len)
    rows = [[h[name][i] for h in having] for i in range(len(epochs))]
    means = [statistics.fmean(row) if all(map(math.isfinite, row)) else math.nan for row in rows]
    if all(math.isnan(mean) for mean in means):
        return None
    spread = [statistics.stdev(row) if len(row) > 1 and all(map(math.isfinite, row)) else 0.0 for row in rows]
    return Series(label, epochs, means, spread if len(having) > 1 else [])


def comparison_charts(histories: Histories) -> list[Markup]:
    """Charts that compare methods, one a figure that is recorded: dev RSUM, then what the methods log."""
    charts = []
    for name, label in {SELECTED_BY: "dev RSUM", **FIGURES}.items():
        series = [over_seeds(runs, name, method) for method, runs in histories.items()]
        # a method without the figure keeps its place, so that colours stay those of the methods
        shown = [each or Series(method, [], []) for each, method in zip(series, histories, strict=True)]
        if any(series):
            charts.append(
                lines(f"{label[0].upper()}{label[1:]} by epoch", "epoch", label, shown, y_from_zero=name in FIGURES)
            )
    return charts


def method_charts(histories: Histories) -> list[Markup]:
    """One chart a method with its loss and the terms of it (not comparable between methods)."""
    charts = []
    for method, runs in histories.items():
        names = [n for n in runs[0] if n not in NO_TERMS and not n.startswith("dev_")]
        names.sort(key=lambda name: name != "train_loss")
        shown = [each for name in names[:6] if (each := over_seeds(runs, name, name))]
        if shown:
            charts.append(lines(f"Training loss of {method}", "epoch", "loss", shown, switch=False))
    return charts


@dataclass(frozen=True)
class Run:
    """One training run: the epoch whose weights were kept, the epochs that were run, dev RSUM of the kept weights."""

    method: str
    seed: int
    kept: int
    epochs: int
    dev_rsum: float


def read_runs(runs: Path, methods: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """What the train stage wrote of each run; those without a train.json are left out."""
    found = []
    for method in methods:
        for seed in seeds:
            path = runs / method / f"seed{seed}" / "train.json"
            if path.is_file():
                facts = read_json(path)
                found.append(Run(method, seed, int(facts["epoch"]), int(facts["epochs"]), float(facts["dev_rsum"])))
    return found


@dataclass(frozen=True)
class Cost:
    """A method's similarity ("dot" or "pairwise"), its multiplications and additions a pair, and which pairs were
    scored exactly: all, or a shortlist with the share of queries that have an answer on it."""

    method: str
    similarity: str
    multiply_adds: str
    scored: str


def costs(results: Results) -> list[Cost]:
    """One row a method, of its first seed; none where every method compares by inner product."""
    benchmark = "retrieval" if "retrieval" in results.benchmarks else results.benchmarks[0]
    found = []
    for method in results.methods:
        protocol = results.protocols[method, results.seeds[0], benchmark]
        similarity = str(protocol.get("similarity", "dot"))
        taken = protocol.get("multiply_adds_a_pair", protocol.get("width"))
        shortlist = protocol.get("shortlist")
        scored = "all pairs"
        if shortlist:
            recall = ", ".join(f"{name} {100 * value:.1f} %" for name, value in shortlist["recall"].items())
            scored = f"the best {shortlist['candidates']} stand-ins; an answer among them: {recall}"
        found.append(Cost(method, similarity, "–" if taken is None else f"{taken:,}", scored))
    return found if any(row.similarity == "pairwise" for row in found) else []
