"""`itm evaluate`, `itm compare` and `itm ensemble`: embeddings from anywhere, two methods, several runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

evaluate_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
compare_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
ensemble_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@evaluate_app.command()
def evaluate(
    benchmark: Annotated[
        list[str], typer.Option(help="Benchmark; may be given several times. `list` shows what exists.", metavar="NAME")
    ],
    embeddings: Annotated[
        Path | None, typer.Option(help="Embeddings with ids, .safetensors or .npz; docs/metrics.md has the format.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write metrics.json here.")] = None,
    ranks: Annotated[
        Path | None, typer.Option(help="Write per-query values (Parquet) here, for `itm compare`.")
    ] = None,
    normalize: Annotated[bool, typer.Option(help="Scale embeddings to unit length first.")] = False,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of the benchmarks' own files; else ITM_MIRROR and data/raw.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the CxC bootstrap.", min=0)] = 0,
) -> None:
    """Evaluate embeddings of any model on published benchmarks."""
    from itm.console import console
    from itm.data.files import check_outputs, mirror_folder
    from itm.errors import ConfigError
    from itm.evaluation.keys import metric_lines
    from itm.evaluation.published import BENCHMARKS, evaluate_file

    names = [name for given in benchmark for name in given.split(",") if name]
    if names == ["list"]:
        for name, text in BENCHMARKS.items():
            console().print(f"{name}  {text}")
        console().print(_quoted_table())
        return
    if embeddings is None:
        raise ConfigError("--embeddings FILE is needed", reason="missing-option")
    check_outputs(out, ranks)
    if annotations is None:
        mirror_folder()  # one that cannot be read is said before the work
    report = evaluate_file(embeddings, names, normalize=normalize, annotations=annotations, seed=seed)
    console().print(*metric_lines(report.metrics), sep="\n")
    report.write(out, ranks)


@compare_app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The baseline: ranks.parquet, or evaluations/<method> with all its seeds.")],
    b: Annotated[Path, typer.Argument(help="The other method, in the same form.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="retrieval/i2t/r1, all below cxc, or with wildcards: 'retrieval/*/r1'.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Bootstrap samples, and as many permutations.", min=1)] = 10_000,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the comparison as JSON here.")] = None,
) -> None:
    """Compare two methods query by query: difference, interval, effect size, p-values with Holm's correction.

    Queries are paired, and resampled image by image; with several seeds the interval draws seeds as well.
    """
    from itm.console import console, table
    from itm.data.files import check_outputs, write_json
    from itm.evaluation.compare import compare as run

    check_outputs(out)
    rows = run(a, b, metric or ("*",), samples=samples, level=level, seed=seed)
    shown = [
        (
            row.metric,
            f"{row.a:.4f}",
            f"{row.b:.4f}",
            f"{row.comparison.difference:+.4f}",
            f"{row.comparison.low:+.4f} to {row.comparison.high:+.4f}",
            f"{row.comparison.effect:+.2f}",
            *("–" if p is None else f"{p:.4f}" for p in (row.comparison.p, row.holm_p, row.comparison.wilcoxon_p)),
        )
        for row in rows
    ]
    columns = ("metric", "A", "B", "B - A", f"{level:.0%} interval", "effect", "p", "p (Holm)", "Wilcoxon p")
    printed = console()
    printed.print(f"A = {a} ({rows[0].seeds[0]} seeds), B = {b} ({rows[0].seeds[1]} seeds)")
    printed.print(table(columns, shown))
    printed.print(
        "p: two-sided sign-flip permutation by image; effect: mean difference in its standard deviations (d_z)"
    )
    if out is not None:
        write_json(out, [row.to_json() for row in rows])


@ensemble_app.command()
def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of embeddings, embeddings/METHOD/seedN; two or more.")],
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Benchmark; may be given several times. Default: those of params.yaml.")
    ] = None,
    standardise: Annotated[
        bool, typer.Option(help="Divide each run's similarities by their standard deviation first.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the metrics of all benchmarks here (JSON).")] = None,
    evaluations: Annotated[
        Path | None, typer.Option(help="Folder for per-query values, for `itm compare`: evaluations/NAME/seed0.")
    ] = None,
    clean: Annotated[Path, typer.Option(help="Folder of the clean tables.")] = Path("data/clean"),
    scored: Annotated[Path, typer.Option(help="Folder of the scored captions.")] = Path("data/scored"),
) -> None:
    """Evaluate the mean of several runs' similarities as if it were one run.

    Example: `itm ensemble embeddings/esl-global/seed0 embeddings/esl-global-adaptive/seed0`.
    """
    from itm.config import load
    from itm.console import console
    from itm.data.files import check_outputs
    from itm.evaluation.ensemble import evaluate_runs
    from itm.evaluation.keys import metric_lines
    from itm.evaluation.result import write_together

    check_outputs(out, evaluations and evaluations / "seed")
    metrics, results = evaluate_runs(
        runs,
        load(),
        benchmark or (),
        (clean, scored),
        standardise=standardise,
        evaluations=evaluations or Path(),
    )
    console().print(*metric_lines(metrics), sep="\n")
    write_together(results if evaluations else {}, metrics, out)


def _quoted_table() -> Table:
    from itm.console import table
    from itm.evaluation.published.quoted import QUOTED

    rows = []
    for row in QUOTED:
        recalls: dict[str, list[tuple[str, str]]] = {}
        for key, value in row.values.items():
            base, metric = key.rsplit("/", 1)
            k = metric.removeprefix("r")
            recalls.setdefault(base if k.isdigit() else key, []).append((k, f"{value:.12g}"))
        lines = [
            f"{name} R@{'/'.join(k for k, _ in pairs)} {'/'.join(value for _, value in pairs)}"
            if pairs[0][0].isdigit()
            else f"{name} {pairs[0][1]}"
            for name, pairs in recalls.items()
        ]
        numbers = "\n".join(lines)
        rows.append((row.benchmark, row.model, numbers, f"quoted: {row.source}"))
    return table(("benchmark", "model", "numbers as printed", "source"), rows, title="quoted, not measured here")
