"""The `itm` command: choose parameters, look around, run one piece. The pipeline itself is `dvc repro`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from itm.console import write_anything
from itm.errors import ConfigError, ProjectError, nearest
from itm.faults import message_of

app = typer.Typer(
    name="itm",
    help="Image-text matching that knows degrees: configure the pipeline and look into it.",
    epilog="Run the pipeline: `dvc repro`, or `snakemake --cores 2`. Every parameter: docs/configuration.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

CONFIGURE, INSPECT, PIPELINE, PARTS = "Configure", "See what exists", "Pipeline", "Use a part by itself"
PARAMETERS = Path("params.yaml")
EXTRAS = {"index": "explore", "search": "explore", "explore": "explore", "transfer": "train", "diagnose": "train"}
"""Commands whose packages several extras hold, and the one that holds them all."""
PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from itm import __version__

        typer.echo(f"graded-itm {__version__}")
        raise typer.Exit


@app.command(rich_help_panel=CONFIGURE)
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make; it may be there, and empty.")],
    name: Annotated[str, typer.Option("--preset", metavar="NAME", help="The parameters to begin with.")] = "scenes",
) -> None:
    """Make a project: parameters, pipeline and code in a folder of their own, ready for `dvc repro`."""
    from itm.config.project import create

    made = create(folder, name)
    typer.echo(f"{made}: a project with the preset {name}. Next: cd {folder} && dvc repro")


@app.command(rich_help_panel=CONFIGURE)
def preset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A preset; `itm presets` lists them.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Single parameters to change, e.g. train.epochs=5."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when params.yaml says something else.")
    ] = False,
) -> None:
    """Write a preset to params.yaml and show what changed.

    Of the methods it states those in use: the ones that `methods` lists, or that an override is about.
    Examples: `itm preset scenes`, `itm preset flickr8k 'seeds=[0,1,2]' train.epochs=30`.
    """
    from itm.config.presets import changes, compose, in_use, project_root
    from itm.config.render import render
    from itm.data.files import atomic_path

    root = project_root()
    parameters = in_use(compose(name, overrides or [], root=root), overrides or [])
    if parameters.data.name == "folder" and not check:
        from itm.data.readers.folder import find

        find(root / parameters.data.path, parameters.datasets.folder.table)
    changed = changes(*_whole_entries(_raw_parameters(root / PARAMETERS), parameters.model_dump()))
    _print_changes(changed, name, check)
    if check or not changed:
        raise typer.Exit(1 if changed else 0)
    with atomic_path(root / PARAMETERS) as temporary:
        temporary.write_text(render(parameters, name), encoding="utf-8")


@app.command(rich_help_panel=CONFIGURE)
def check(
    path: Annotated[
        Path | None,
        typer.Option("--params", metavar="FILE", help="The file to check; without it the repository's params.yaml."),
    ] = None,
) -> None:
    """Validate params.yaml: unknown keys, wrong types, values out of range, benchmarks the data set lacks."""
    from itm.config import load
    from itm.config.presets import project_root

    path = path or project_root() / PARAMETERS
    found = load(path)
    seeds = ", ".join(str(seed) for seed in found.seeds)
    typer.echo(f"{path.name}: valid")
    typer.echo(f"  data set    {found.data.name}")
    typer.echo(f"  methods     {', '.join(found.methods)}")
    typer.echo(f"  seeds       {seeds}")
    typer.echo(f"  benchmarks  {', '.join(found.benchmarks)}")
    typer.echo(f"  towers      {found.towers.kind}, {'frozen' if found.towers.frozen else 'trained'}")


@app.command(rich_help_panel=CONFIGURE)
def migrate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="params.yaml, or the model.json of models.")],
) -> None:
    """Rewrite files of an older version in the present form."""
    from itm.data.migrate import migrate as rewrite

    for file in files:
        count = rewrite(file)
        typer.echo(f"{file}: {count} methods rewritten" if count else f"{file}: nothing to rewrite")


@app.command(rich_help_panel=INSPECT)
def presets() -> None:
    """List the presets."""
    from itm.config.presets import choices
    from itm.config.project import definitions

    _print_names(choices("preset", definitions()))


@app.command(rich_help_panel=INSPECT)
def methods() -> None:
    """List the methods that `methods` in params.yaml can name."""
    from itm.config.presets import choices
    from itm.config.project import definitions

    root = definitions()
    stated = _entries(_raw_parameters(root / PARAMETERS))
    own = {name: f"{_loss(entry)}; only in params.yaml" for name, entry in stated.items()}
    _print_names(own | choices("method", root))


@app.command(rich_help_panel=INSPECT)
def benchmarks() -> None:
    """List the benchmarks, and the data sets that have them."""
    from itm.config import BENCHMARK_NAMES, BENCHMARKS

    names: dict[str, str] = {}
    for name in BENCHMARK_NAMES:
        sets = ", ".join(data for data, available in BENCHMARKS.items() if name in available)
        names[name] = f"{_module_summary(f'itm.evaluation.benchmarks.{name}')} [{sets}]".strip()
    _print_names(names)


@app.command(rich_help_panel=PIPELINE)
def sync() -> None:
    """Tell Snakemake that files made by `dvc repro` or `dvc pull` are current.

    Refuses unless `dvc status` is clean.
    """
    from itm.config.presets import project_root
    from itm.pipeline.sync import sync as synchronise

    stages = synchronise(project_root())
    typer.echo(f"Snakemake agrees with DVC: {stages} stages are up to date")


@app.command(rich_help_panel=PIPELINE)
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Clear what is found; without it nothing is changed.")
    ] = False,
) -> None:
    """Find stale locks, a torn dvc.lock, and damaged results in DVC's cache and here; --repair clears them.

    For after a crash, or when a runner refuses to start (docs/reliability.md). Reads every result once.
    """
    from itm.config.presets import project_root
    from itm.pipeline.doctor import examine

    findings = examine(project_root())
    for finding in findings:
        if repair:
            finding.repair()
        typer.echo(f"{finding.what}\n  {'done' if repair else 'to do'}: {finding.remedy}")
    if not findings:
        typer.echo("nothing found: no stale locks, and every result has its checksum")
    elif repair:
        typer.echo("run `dvc repro` or `snakemake` again (after `dvc repro`: `itm sync`)")
    else:
        typer.echo("`itm doctor --repair` does all of this")
        raise typer.Exit(1)


@app.command(rich_help_panel=PIPELINE, context_settings=PASS_ON, add_help_option=False)
def stage(context: typer.Context) -> None:
    """Run one stage by hand, without DVC's bookkeeping; `itm stage NAME --help` lists its options."""
    import runpy

    known = _stages()
    name, *options = context.args or ["--help"]
    if name in ("-h", "--help"):
        typer.echo("Usage: itm stage NAME [OPTIONS]\n\nStages (`itm stage NAME --help` for the options of one):")
        _print_names({stage: _module_summary(f"itm.stages.{stage}") for stage in known})
        return
    if name not in known:
        raise ConfigError(f"no stage '{name}'; {nearest(name, known)}", reason="unknown-stage")
    sys.argv[1:] = options
    runpy.run_module(f"itm.stages.{name}", run_name="__main__", alter_sys=True)


def _forward(name: str, module: str, attribute: str, summary: str) -> None:
    """Add a command whose options live in a module of its own, imported only when the command runs."""

    @app.command(name, help=summary, rich_help_panel=PARTS, context_settings=PASS_ON, add_help_option=False)
    def run(context: typer.Context) -> None:
        commands: typer.Typer = getattr(importlib.import_module(module), attribute)
        commands(context.args, prog_name=f"itm {name}")


_forward("data", "itm.data.commands", "app", "Look into data sets and their files, fetch and verify them.")
_forward("import", "itm.descriptions.arrays", "app", "Turn what others computed into files of this project.")
_forward("score", "itm.text.explain", "app", "Score how descriptive captions are, word by word.")
_forward("grade", "itm.grading.commands", "app", "Calibrate similarities: is it true, and how much does it say?")
_forward("evaluate", "itm.evaluation.commands", "evaluate_app", "Evaluate embeddings of any model on the benchmarks.")
_forward("compare", "itm.evaluation.commands", "compare_app", "Compare two methods query by query: is it chance?")
_forward("ensemble", "itm.evaluation.commands", "ensemble_app", "Evaluate the mean of several runs' similarities.")
_forward("transfer", "itm.transfer.commands", "app", "Evaluate trained models on another data set, zero-shot.")
_forward("diagnose", "itm.diagnosis.commands", "diagnose_app", "Show which pairs a method relaxes, and which are true.")
_forward("report", "itm.comparison.commands", "app", "Compare two git revisions or DVC experiments, with pictures.")
_forward("runs", "itm.runs.commands", "runs_app", "All runs in one table: workspace, commits, experiments.")
_forward("verify", "itm.runs.commands", "verify_app", "Check what a run was made of, and measure it again.")
_forward("plan", "itm.runs.commands", "plan_app", "Say what a preset would run, fetch and take.")
_forward("du", "itm.runs.commands", "du_app", "Show what takes disk space, and what nothing needs.")
_forward("gc", "itm.runs.commands", "gc_app", "Delete what nothing needs; a dry run by default.")
_forward("index", "itm.index.commands", "index_app", "Embed images with a trained model, to be searched.")
_forward("search", "itm.index.commands", "search_app", "Search an index by text, from the terminal.")
_forward("explore", "itm.explore.commands", "explore_app", "See graded matches in the browser, one or two models.")


def main() -> None:
    """Run the command line; what a user or the machine can mend is one message without a traceback, and status 1."""
    write_anything()
    try:
        app()
    except Exception as error:
        message = message_of(error, EXTRAS.get(next(iter(sys.argv[1:]), ""), ""))
        if message is None:
            raise
        typer.echo(f"itm: {message}{_elsewhere(error)}", err=True)
        sys.exit(1)


def _elsewhere(error: Exception) -> str:
    """Where to run a command that may have found nothing because it was run below the project's folder."""
    from itm.config.presets import project_root

    if getattr(error, "reason", "") not in ("missing-file", "unknown-images"):
        return ""
    try:
        root, here = project_root(), Path.cwd()
    except (ConfigError, OSError):  # no project, or the present folder is gone
        return ""
    return "" if here == root else f" (you are in {here.relative_to(root)}/ of {root}: run it there)"


def _print_names(names: dict[str, str]) -> None:
    width = max(map(len, names), default=0)
    for name, description in names.items():
        typer.echo(f"{name:{width}}  {description}".rstrip())


def _print_changes(changed: list[Any], name: str, check: bool) -> None:
    from itm.console import console, table

    if not changed:
        console().print(f"params.yaml holds preset {name} already; no parameter changed")
        return
    rows = [(change.key, _shown(change.old), _shown(change.new)) for change in changed]
    console().print(table(("parameter", "old", "new"), rows))
    verb = "would change" if check else "changed"
    console().print(f"{len(changed)} parameter{'s' * (len(changed) > 1)} {verb} in params.yaml")


def _shown(value: Any) -> str:
    return "-" if value is None else f"[{', '.join(map(str, value))}]" if isinstance(value, list) else repr(value)


def _raw_parameters(path: Path) -> dict[str, Any]:
    """What a params.yaml says, valid or not; nothing when there is none to compare with."""
    from itm.parse import beginning, parse_keys

    try:
        return parse_keys(beginning(path), str(path))
    except (FileNotFoundError, ProjectError):
        return {}


def _whole_entries(old: dict[str, Any], new: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both, with an entry of `method` that only one of them has as one value, to be told in one line."""
    before, after = _entries(old), _entries(new)
    common = before.keys() & after.keys()
    stated = [{name: entry if name in common else "stated" for name, entry in each.items()} for each in (before, after)]
    return {**old, "method": stated[0]}, {**new, "method": stated[1]}


def _entries(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of `method` in what a params.yaml says."""
    found = values.get("method")
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)} if isinstance(found, dict) else {}


def _loss(entry: dict[str, Any]) -> str:
    loss = entry.get("loss")
    return f"loss {loss.get('type') if isinstance(loss, dict) else loss}"


def _stages() -> list[str]:
    """The stage modules: those in itm/stages that are not the shared harness."""
    folder = Path(__file__).parent / "stages"
    return sorted(file.stem for file in folder.glob("*.py") if file.stem not in ("__init__", "harness"))


def _module_summary(module: str) -> str:
    """The first line of a module's docstring, read without importing the module."""
    import ast

    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    documentation = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return documentation.splitlines()[0] if documentation else ""


if __name__ == "__main__":
    main()
