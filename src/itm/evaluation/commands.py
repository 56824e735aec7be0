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
    seed: Annotated[int, typer.Option(help="Seed of the CxC bootstrap.")] = 0,
    grade: Annotated[Path | None, typer.Option(help="Rank by the grades of this calibrator (`itm grade fit`).")] = None,
    captions: Annotated[Path | None, typer.Option(help="With --grade: CSV with the columns caption_id, text.")] = None,
    specificity: Annotated[
        float, typer.Option(help="With --grade: 0 = what is true; 1 = what says most about the image.")
    ] = 0.0,
    model: Annotated[
        str, typer.Option(help="With --grade: the name that the calibrator was fitted with.", metavar="NAME")
    ] = "",
) -> None:
    """Evaluate embeddings of any model on published benchmarks."""
    from rich.console import Console

    from itm.errors import ConfigError
    from itm.evaluation.keys import metric_lines
    from itm.evaluation.published import BENCHMARKS, evaluate_file

    console = Console(highlight=False)
    names = [name for given in benchmark for name in given.split(",") if name]
    if names == ["list"]:
        for name, text in BENCHMARKS.items():
            console.print(f"[bold]{name}[/bold]  {text}")
        console.print(_quoted_table())
        return
    if embeddings is None:
        raise ConfigError("--embeddings FILE is needed", reason="missing-option")
    vectors = None
    if grade is not None:
        from itm.grading.files import graded_vectors
        from itm.grading.texts import read_captions
        from itm.vectors import read_vectors

        if captions is None:
            raise ConfigError("--grade needs --captions FILE: grades depend on the texts", reason="missing-option")
        table, vectors = read_captions(captions, images=False), read_vectors(embeddings)
        vectors = graded_vectors(vectors, table, captions, grade, specificity, normalize, model)
        normalize = False
    report = evaluate_file(vectors or embeddings, names, normalize=normalize, annotations=annotations, seed=seed)
    if grade is not None:
        report.protocol["grade"] = {"file": grade.name, "specificity": specificity}
    report.write(out, ranks)
    console.print(*metric_lines(report.metrics), sep="\n", markup=False)


@compare_app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The baseline: ranks.parquet, or evaluations/<method> with all its seeds.")],
    b: Annotated[Path, typer.Argument(help="The other method, in the same form.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="retrieval/i2t/r1, all below cxc, or with wildcards: 'retrieval/*/r1'.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Bootstrap samples, and as many permutations.", min=1)] = 10_000,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the comparison as JSON here.")] = None,
) -> None:
    """Compare two methods query by query: difference, interval, effect size, p-values with Holm's correction.

    Queries are paired, and resampled image by image; with several seeds the interval draws seeds as well.
    """
    from rich.console import Console
    from rich.table import Table

    from itm.data.files import write_json
    from itm.evaluation.compare import compare as run

    rows = run(a, b, metric or ("*",), samples=samples, level=level, seed=seed)
    if out is not None:
        write_json(out, [row.to_json() for row in rows])
    table = Table(
        "metric", "A", "B", "B - A", f"{level:.0%} interval", "effect", "p", "p (Holm)", "Wilcoxon p", box=None
    )
    for row in rows:
        found = row.comparison
        table.add_row(
            row.metric,
            f"{row.a:.4f}",
            f"{row.b:.4f}",
            f"{found.difference:+.4f}",
            f"{found.low:+.4f} to {found.high:+.4f}",
            f"{found.effect:+.2f}",
            *("–" if p is None else f"{p:.4f}" for p in (found.p, row.holm_p, found.wilcoxon_p)),
        )
    console = Console(highlight=False)
    console.print(f"A = {a} ({rows[0].seeds[0]} seeds), B = {b} ({rows[0].seeds[1]} seeds)", markup=False)
    console.print(table)
    console.print(
        "p: two-sided sign-flip permutation by image; effect: mean difference in its standard deviations (d_z)"
    )


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
    from rich.console import Console

    from itm.config import load
    from itm.evaluation.ensemble import evaluate_runs
    from itm.evaluation.keys import metric_lines

    metrics = evaluate_runs(
        runs,
        load(),
        benchmark or (),
        (clean, scored),
        standardise=standardise,
        evaluations=evaluations,
        out=out,
    )
    console = Console(highlight=False)
    console.print(*metric_lines(metrics), sep="\n", markup=False)


def _quoted_table() -> Table:
    from rich.table import Table

    from itm.evaluation.published.quoted import QUOTED

    table = Table("benchmark", "model", "numbers as printed", "source", title="quoted, not measured here", box=None)
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
        table.add_row(row.benchmark, row.model, numbers, f"quoted: {row.source}")
    return table
