"""`itm evaluate`, `itm compare` and `itm ensemble`: embeddings from anywhere, two methods, several runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
        Path | None,
        typer.Option(
            help="Embeddings: .safetensors, .npz, .parquet, a folder of .npy; docs/metrics.md has the format."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model instead: open_clip:NAME:TAG, hf:PATH, st:PATH, or a trained model's folder."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder or archive of the photos, for --model.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder where a model's embeddings are kept. Default: .itm/embeddings")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where a model computes, or embeddings are multiplied: cpu, cuda, mps.")
    ] = "cpu",
    items: Annotated[
        bool, typer.Option("--items", help="Only list ids, photos and texts of the benchmarks, in order, as CSV.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write metrics.json here; with --protocol mteb MTEB's result files too, in NAME-mteb beside."
        ),
    ] = None,
    ranks: Annotated[
        Path | None, typer.Option(help="Write per-query values (Parquet) here, for `itm compare`.")
    ] = None,
    trec: Annotated[
        Path | None, typer.Option(help="Write TREC runs and judgements into this folder, for other evaluators.")
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Also the figures of another evaluation of COCO and Flickr30K, and why they differ: clip_benchmark, "
            "mteb, karpathy; may be given several times."
        ),
    ] = None,
    normalize: Annotated[bool, typer.Option(help="Scale embeddings to unit length first.")] = False,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of the benchmarks' own files; else ITM_MIRROR and data/raw.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the CxC bootstrap.", min=0)] = 0,
    grade: Annotated[Path | None, typer.Option(help="Rank by the grades of this calibrator (`itm grade fit`).")] = None,
    captions: Annotated[Path | None, typer.Option(help="With --grade: CSV with the columns caption_id, text.")] = None,
    specificity: Annotated[
        float | None,
        typer.Option(
            help="0 = what is true; 1 = what says most about the image. Of --grade (0 where it is not given), or by a "
            "trained model's own grade."
        ),
    ] = None,
) -> None:
    """Evaluate any model, or its embeddings, on published benchmarks.

    Example: `itm evaluate --model open_clip:ViT-B-32:openai --benchmark hierarcaps --images photos`.
    """
    import warnings

    from itm.console import console
    from itm.data.files import check_outputs, mirror_folder
    from itm.errors import ConfigError
    from itm.evaluation.keys import metric_lines
    from itm.evaluation.published import BENCHMARKS, AssumedWarning, evaluate_file, evaluate_model, evaluate_vectors
    from itm.evaluation.published.mteb import result_files

    names = [name for given in benchmark for name in given.split(",") if name]
    if names == ["list"]:
        for name, text in BENCHMARKS.items():
            console().print(f"{name}  {text}")
        console().print(_quoted_table())
        return
    if items:
        _print_items(names, annotations)
        return
    if (embeddings is None) == (model is None):
        raise ConfigError("--embeddings FILE or --model NAME is needed, one of them", reason="missing-option")
    if model is None and (images, keep) != (None, None):
        raise ConfigError("--images and --keep are for --model", reason="missing-option")
    also = result_files(out, names).values() if out is not None and "mteb" in (protocol or ()) else ()
    check_outputs(out, ranks, *also)
    if annotations is None:
        mirror_folder()  # one that cannot be read is said before the work
    options: dict[str, Any] = {"normalize": normalize, "annotations": annotations, "seed": seed}
    options["protocols"] = protocol or ()
    if specificity is not None and grade is None and model is None:
        raise ConfigError("--specificity needs --grade FILE, or a trained model's folder", reason="missing-option")
    if grade is not None and (embeddings is None or captions is None):
        raise ConfigError(
            "--grade needs --embeddings FILE and --captions FILE: grades depend on the texts", reason="missing-option"
        )
    if grade is not None and device != "cpu":
        raise ConfigError("--device is for similarities; grades of all pairs are computed on the CPU: leave it out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumedWarning)  # told below, a line each
        if grade is not None:
            from itm.grading.files import graded_vectors

            assert embeddings is not None
            assert captions is not None
            graded = graded_vectors(embeddings, captions, grade, specificity or 0.0, normalize)
            report = evaluate_vectors(lambda _: graded, names, **{**options, "normalize": False})
            report.protocol["grade"] = {"file": grade.name, "specificity": specificity or 0.0}
        elif embeddings is not None:
            report = evaluate_file(embeddings, names, device=device, **options)
        else:
            report = evaluate_model(
                model, names, images=images, keep=keep, device=device, specificity=specificity, **options
            )
    console().print(*metric_lines(report.metrics), sep="\n")
    for name, lines in report.protocol.get("other_protocols", {}).items():
        console().print(f"{name} differs in", *lines, sep="\n  ")
    for sentence in (*report.protocol.get("assumed", ()), *report.left_out, *report.notes):
        typer.echo(f"note: {sentence}", err=True)
    report.write(out, ranks)
    if trec is not None:
        report.write_trec(trec)


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


def _print_items(names: list[str], annotations: Path | None) -> None:
    """The items of each gallery once, as CSV."""
    import csv
    import sys

    from itm.evaluation.published.items import read_items

    found = {items.gallery: items for items in (read_items(name, annotations) for name in names)}
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("gallery", "kind", "id", "item"))
    for gallery, items in found.items():
        table.writerows((gallery, *row) for row in items.rows())


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
    return table(
        ("benchmark", "model", "numbers as printed", "source"),
        rows,
        title="to compare with; quoted, but for untrained towers",
    )
