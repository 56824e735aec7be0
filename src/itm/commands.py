"""Commands about a project as a whole: make it, choose its parameters, list what there is, keep it in order."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from itm.errors import ConfigError, ProjectError, nearest

PARAMETERS = Path("params.yaml")
WHAT = "presets (recipes and data sets), methods, benchmarks or data."
stage_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make; it may be there, and empty.")],
    name: Annotated[
        str, typer.Option("--preset", metavar="PRESET", help="What to begin with: words as `itm preset` takes them.")
    ] = "scenes",
) -> None:
    """Make a project: parameters, pipeline and code in a folder of their own, ready for `dvc repro`."""
    from itm.config.project import create

    made = create(folder, name)
    typer.echo(f"{made}: a project with the preset {name}. Next: cd {folder} && dvc repro")


def preset(
    name: Annotated[
        str, typer.Argument(metavar="RECIPE|DATA", help="A recipe, or a data set alone; without it both are listed.")
    ] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="data=DATA beside a recipe, and parameters to change, e.g. train.epochs=5."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 when params.yaml says something else.")
    ] = False,
) -> None:
    """Write params.yaml from a recipe (how one trains) and a data set, and show what changed.

    A data set alone takes its own recipe. Of the methods it states those in use: the ones that `methods` lists, or that
    an override is about. Examples: `itm preset scenes`, `itm preset tokens data=flickr8k 'seeds=[0]' train.epochs=9`.
    """
    if not name:
        _presets()
        return
    from itm.config.presets import changes, compose, in_use, project_root
    from itm.config.recipes import choose
    from itm.config.render import render
    from itm.data.files import atomic_path

    root = project_root()
    parameters = in_use(compose(name, overrides or [], root=root), overrides or [])
    if parameters.data.name == "folder" and not check:
        from itm.data.readers.folder import find

        find(root / parameters.data.path, parameters.datasets.folder.table)
    changed = changes(*_whole_entries(_raw_parameters(root / PARAMETERS), parameters.model_dump()))
    name = choose(name, overrides or [], root).name
    _print_changes(changed, name, check)
    if check or not changed:
        raise typer.Exit(1 if changed else 0)
    with atomic_path(root / PARAMETERS) as temporary:
        temporary.write_text(render(parameters, name), encoding="utf-8")


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


def migrate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="params.yaml, or the model.json of models.")],
) -> None:
    """Rewrite files of an older version in the present form."""
    from itm.data.migrate import migrate as rewrite

    for file in files:
        count = rewrite(file)
        typer.echo(f"{file}: {count} methods rewritten" if count else f"{file}: nothing to rewrite")


def list_(
    what: Annotated[Literal["presets", "methods", "benchmarks", "data"], typer.Argument(metavar="WHAT", help=WHAT)],
) -> None:
    """List what there is: presets, methods, benchmarks, or data sets with their sizes."""
    {"presets": _presets, "methods": _methods, "benchmarks": _benchmarks, "data": _data}[what]()


def sync() -> None:
    """Tell Snakemake that files made by `dvc repro` or `dvc pull` are current.

    Refuses unless `dvc status` is clean.
    """
    from itm.config.presets import project_root
    from itm.pipeline.sync import sync as synchronise

    stages = synchronise(project_root())
    typer.echo(f"Snakemake agrees with DVC: {stages} stages are up to date")


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


@stage_app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
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


def _presets() -> None:
    from itm.config.project import definitions
    from itm.config.recipes import sections

    for title, names in sections(definitions()).items():
        typer.echo(title)
        _print_names(names, "  ")


def _methods() -> None:
    from itm.config.project import definitions
    from itm.config.recipes import choices

    root = definitions()
    stated = _entries(_raw_parameters(root / PARAMETERS))
    own = {name: f"{_loss(entry)}; only in params.yaml" for name, entry in stated.items()}
    _print_names(own | choices("method", root))


def _benchmarks() -> None:
    from itm.config import BENCHMARK_NAMES, BENCHMARKS

    names: dict[str, str] = {}
    for name in BENCHMARK_NAMES:
        sets = ", ".join(data for data, available in BENCHMARKS.items() if name in available)
        names[name] = f"{_module_summary(f'itm.evaluation.benchmarks.{name}')} [{sets}]".strip()
    _print_names(names)


def _data() -> None:
    from itm.data.commands import list_sets

    list_sets()


def _print_names(names: dict[str, str], before: str = "") -> None:
    width = max(map(len, names), default=0)
    for name, description in names.items():
        typer.echo(f"{before}{name:{width}}  {description}".rstrip())


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
