"""`itm runs` and, below it, verify, du, gc and export; `itm plan`."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itm.console import console, table
from itm.errors import size_text

if TYPE_CHECKING:
    from rich.table import Table

    from itm.runs.verify import Item

OPTIONS: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False}
runs_app, verify_app, du_app, gc_app, plan_app, export_app = (typer.Typer(**OPTIONS) for _ in range(6))


@runs_app.command()
def runs(
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", "-m", metavar="KEY", help="retrieval/rsum, all below cxc, or with wildcards: 'retrieval/*/r1'."
        ),
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be repeated.")] = None,
    revision: Annotated[
        list[str] | None, typer.Option("--rev", metavar="REV", help="Also this commit; may be repeated.")
    ] = None,
    commits: Annotated[int, typer.Option(min=0, help="Also the last N commits that changed results.")] = 0,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="where, method, seed, or a metric.")] = "method",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """All runs in one table: of the workspace, of branches, tags and commits, of DVC experiments.

    Beside each: the parameters that differ within its method, the command that brings it back, and the figure that its
    paper has published, where it has the paper's setting. Queued and failed experiments have no results: see `dvc queue
    status`.
    """
    from itm.config.presets import project_root
    from itm.errors import ConfigError, nearest
    from itm.runs.table import STATES, as_records, chosen_metrics, places, read_runs, sort_runs

    if as_json and as_csv:
        raise ConfigError("give --json or --csv, not both", reason="two-forms")
    root = project_root()
    found = read_runs(root, places(root, revision or [], commits))
    known = {run.method for run in found}
    for name in method or []:
        if name not in known:
            raise ConfigError(f"no run of the method '{name}'; {nearest(name, known)}", reason="unknown-method")
    found = [run for run in found if not method or run.method in method]
    metrics = chosen_metrics(found, metric or [])
    found = sort_runs(found, sort)
    records = as_records(found, metrics)
    if as_json:
        typer.echo(json.dumps(records, indent=2))
    elif as_csv:
        typer.echo(_csv(records, metrics), nl=False)
    else:
        out = console()
        out.print(_runs_table(records, metrics))
        for state in dict.fromkeys(run.state for run in found):
            out.print(f"{state}: {STATES[state]}")


@verify_app.command()
def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="METHOD/seedN, METHOD/seedN/BENCHMARK, or a metrics file.")],
    evaluate: Annotated[bool, typer.Option(help="Measure again from the stored embeddings.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a run: its provenance, its stages against dvc.lock, its figures measured again.

    Exit status 1 if anything differs or is not here to be compared. `itm verify ditm/seed0`.
    """
    from itm.config.presets import project_root
    from itm.runs.verify import EQUAL, RUNS, commit_of, find_target
    from itm.runs.verify import verify as check

    root = project_root()
    target = find_target(root, run)
    commit = commit_of(root, f"{RUNS}/{target.method}/seed{target.seed}")
    items: list[Item] = []
    out = console()
    for item in check(root, target, evaluate=evaluate):
        items.append(item)
        if not as_json:
            if len(items) == 1 or items[-2].group != item.group:
                out.print(item.group, style="bold")
            out.print(f"  {item.verdict:9}  {item.name}{f': {item.note}' if item.note else ''}")
    differing = [item for item in items if item.verdict != EQUAL]
    if as_json:
        listed = [{"group": i.group, "name": i.name, "verdict": i.verdict, "note": i.note} for i in items]
        typer.echo(json.dumps({"run": run, "commit": commit, "equal": not differing, "items": listed}, indent=2))
    else:
        out.print(f"commit of the results: {commit}")
        out.print(f"{len(items)} compared, {len(items) - len(differing)} equal, {len(differing)} not")
    raise typer.Exit(1 if differing else 0)


@du_app.command()
def du(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What takes disk space here, and how much of it nothing needs (docs/storage.md)."""
    from itm.config.presets import project_root
    from itm.runs.storage import survey

    areas, _ = survey(project_root(), days=None)
    if as_json:
        typer.echo(json.dumps([area.as_dict() for area in areas], indent=2))
        return
    rows = [
        (
            area.name,
            area.path,
            size_text(area.size),
            f"{area.files:,}",
            "unknown" if area.unused is None else size_text(area.unused),
            area.note,
        )
        for area in areas
    ]
    console().print(table(("what", "where", "size", "files", "unused", "note"), rows, right=(2, 3, 4)))


@gc_app.command()
def gc(
    apply: Annotated[bool, typer.Option("--apply", "--yes", help="Delete; without it nothing is deleted.")] = False,
    days: Annotated[int, typer.Option(min=0, help="Keep logs and resume states that are not older.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what nothing needs any more; with --apply, delete it (docs/storage.md).

    Whatever the workspace, a commit or a DVC experiment refers to stays. Stops while a stage runs.
    """
    from itm.config.presets import project_root
    from itm.runs.storage import clear

    found, notes = clear(project_root(), days=days, apply=apply)
    if as_json:
        listed = [item.as_dict() for item in found]
        typer.echo(json.dumps({"applied": apply, "items": listed, "notes": notes}, indent=2))
        return
    out = console()
    if found:
        rows = [(item.name, size_text(item.size), f"{item.files:,}", item.why) for item in found]
        out.print(table(("what", "size", "files", "why"), rows, right=(1, 2)))
    for note in notes:
        out.print(note)
    total = size_text(sum(item.size for item in found))
    if not found:
        out.print("nothing to delete")
    elif apply:
        out.print(f"deleted: {total}")
    else:
        out.print(f"{total} could be deleted; nothing was. `itm gc --apply` deletes it")


@export_app.command()
def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder of a trained model, models/METHOD/seedN; for vectors embeddings/METHOD/seedN, an index of "
            "`itm index`, or a file that `itm evaluate --embeddings` reads."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make; for vectors a file that ends in .parquet.")],
) -> None:
    """Write a trained model as two ONNX graphs, photos to vectors and token ids to vectors, checked in onnxruntime.

    The inner product of two vectors is the similarity; export.json beside them says what goes in. Or vectors that are
    there as Parquet (kind, id, embedding), which `itm evaluate --embeddings` reads again.
    """
    if out.suffix == ".parquet":
        from itm.data.files import check_outputs
        from itm.runs.vectors import export_vectors

        check_outputs(out)
        counts = export_vectors(model, out)
        typer.echo(f"{out}: {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")
        return
    from itm.runs.export import export_onnx

    for name, difference in export_onnx(model, out).items():
        typer.echo(f"{out / name}: largest difference to the model {difference:.1e}")


@plan_app.command()
def plan(
    preset: Annotated[str, typer.Argument(metavar="RECIPE|DATA", help="As for `itm preset`, which lists them.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="As for `itm preset`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What a preset would run, fetch and take, before anything does. Writes nothing."""
    from itm.config.presets import compose
    from itm.config.project import definitions
    from itm.config.recipes import choose
    from itm.runs.plan import make_plan

    root = definitions()
    made = make_plan(root, choose(preset, overrides or [], root).name, compose(preset, overrides or [], root=root))
    if as_json:
        typer.echo(json.dumps(made.as_dict(), indent=2))
        return
    out = console()
    for title, lines in made.sections():
        out.print(title, style="bold")
        out.print(table(("", "", ""), [(f"  {line.name}", line.shown, line.basis) for line in lines], right=(1,)))


def _columns(records: list[dict[str, Any]], metrics: list[str]) -> list[tuple[str, str, str]]:
    """The columns of figures: head, section of a record, key. A published figure stands behind the run's own."""
    quoted = {key for record in records for key in record["published"]}
    found = []
    for key in metrics:
        found += [(key, "metrics", key), *([(f"published {key}", "published", key)] if key in quoted else [])]
    return found


def _runs_table(records: list[dict[str, Any]], metrics: list[str]) -> Table:
    figures = _columns(records, metrics)
    columns = ("where", "method", "seed", *(head for head, _, _ in figures), "parameters", "files", "restore")
    rows = [
        (
            ", ".join(record["where"]),
            record["method"],
            str(record["seed"]),
            *(_figure(record[section].get(key)) for _, section, key in figures),
            ", ".join(f"{key}={value}" for key, value in record["parameters"].items()),
            record["state"],
            record["restore"],
        )
        for record in records
    ]
    return table(columns, rows, right=range(2, 3 + len(figures)))


def _csv(records: list[dict[str, Any]], metrics: list[str]) -> str:
    keys = list(dict.fromkeys(key for record in records for key in record["parameters"]))
    figures = _columns(records, metrics)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = (head for head, _, _ in figures)
    writer.writerow(["where", "commit", "method", "seed", *heads, *keys, "files", "restore"])
    for record in records:
        writer.writerow(
            [
                " ".join(record["where"]),
                *(record[key] for key in ("commit", "method", "seed")),
                *("" if (value := record[part].get(key)) is None else value for _, part, key in figures),
                *(record["parameters"].get(key, "") for key in keys),
                record["state"],
                record["restore"],
            ]
        )
    return text.getvalue()


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
