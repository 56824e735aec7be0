"""The `itm` command: twelve commands, what lies below them, and older spellings. The pipeline itself is `dvc repro`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from itm.console import write_anything
from itm.errors import ConfigError
from itm.faults import message_of

app = typer.Typer(
    name="itm",
    help="Image-text matching that knows degrees: set up a project, measure, and look at what came out.",
    epilog="Run the pipeline: `dvc repro`, or `snakemake --cores 2`. What lies below a command, as `itm runs --help` "
    "lists it, has a short form, too: `itm gc` is `itm runs gc`. Every parameter: docs/configuration.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
EXTRAS = {
    **dict.fromkeys(("index", "search", "explore"), "explore"),
    **dict.fromkeys(("transfer", "diagnose"), "train"),
    "export": "export",
}
"""Commands whose packages several extras hold, and the one that holds them all."""


class Command(NamedTuple):
    """A command whose options live in a module of its own, imported only when it runs."""

    summary: str
    target: str
    """A function or an app of Typer, module:name."""
    example: str = ""
    """The last line of its help."""
    below: Mapping[str, Command] = {}
    """Commands that its first word may name."""


EVALUATIONS = {
    "ensemble": Command("Evaluate the mean of several runs' similarities.", "itm.evaluation.commands:ensemble_app"),
    "transfer": Command("Evaluate trained models on other data, zero-shot.", "itm.transfer.commands:app"),
    "diagnose": Command("Show which pairs a method relaxes.", "itm.diagnosis.commands:diagnose_app"),
}
UPKEEP = {
    "verify": Command("Check what a run was made of, and measure it again.", "itm.runs.commands:verify_app"),
    "check": Command("Validate params.yaml.", "itm.commands:check"),
    "stage": Command("Run one stage by hand, without DVC's bookkeeping.", "itm.commands:stage_app"),
    "sync": Command("Tell Snakemake that what DVC made is current.", "itm.commands:sync"),
    "doctor": Command("Find and clear stale locks and damaged results.", "itm.commands:doctor"),
    "du": Command("Show what takes disk space.", "itm.runs.commands:du_app"),
    "gc": Command("Delete what nothing needs; a dry run by default.", "itm.runs.commands:gc_app"),
    "export": Command("Write a model as ONNX graphs, or vectors as Parquet.", "itm.runs.commands:export_app"),
    "migrate": Command("Rewrite files of an older version.", "itm.commands:migrate"),
}
REVISIONS = Command("Compare two git revisions or DVC experiments.", "itm.comparison.commands:app")
IMPORT = Command("Turn what others computed into files of this project.", "itm.descriptions.arrays:app")
INDEX = Command("Embed images with a trained model, to be searched.", "itm.index.commands:index_app")

COMMANDS = {
    "Set up a project": {
        "new": Command("Make a project in a folder of its own.", "itm.commands:new", "itm new photos"),
        "preset": Command(
            "Write params.yaml from a recipe and a data set; alone, list both.",
            "itm.commands:preset",
            "itm preset scratch data=scenes 'seeds=[0,1]' train.epochs=5",
        ),
        "plan": Command(
            "Say what a preset would run, fetch and take.", "itm.runs.commands:plan_app", "itm plan smoke data=scenes"
        ),
        "list": Command("List presets, methods, benchmarks or data sets.", "itm.commands:list_", "itm list presets"),
        "data": Command(
            "Look into data sets and their files, fetch and verify them.",
            "itm.data.commands:app",
            "itm data info flickr8k",
            {"import": IMPORT},
        ),
    },
    "Measure": {
        "score": Command(
            "Score how descriptive captions are, word by word.",
            "itm.text.explain:app",
            'itm score --explain "a dog" "a white dog on grass"',
        ),
        "grade": Command(
            "Calibrate similarities: is it true, and how much does it say?",
            "itm.grading.commands:app",
            "itm grade fit --embeddings dev.npz --captions dev.csv --out mine.json",
        ),
        "evaluate": Command(
            "Evaluate any model, or its embeddings, on the benchmarks.",
            "itm.evaluation.commands:evaluate_app",
            "itm evaluate --embeddings mine.npz --benchmark pairs",
            EVALUATIONS,
        ),
        "compare": Command(
            "Compare two methods query by query: is it chance?",
            "itm.evaluation.commands:compare_app",
            "itm compare evaluations/clip evaluations/ditm",
            {"revisions": REVISIONS},
        ),
    },
    "Look at results and models": {
        "runs": Command(
            "All runs in one table; check them, and keep them in order.",
            "itm.runs.commands:runs_app",
            "itm runs --metric retrieval/rsum",
            UPKEEP,
        ),
        "search": Command(
            "Find photos by text, in the terminal.",
            "itm.index.commands:search_app",
            'itm search "a dog on grass" --index photos.index',
            {"index": INDEX},
        ),
        "explore": Command(
            "See graded matches in the browser, one or two models.",
            "itm.explore.commands:explore_app",
            "itm explore models/ditm/seed0 --images photos",
        ),
    },
}
ALIASES = {
    **{name: f"list {name}" for name in ("presets", "methods", "benchmarks")},
    "import": "data import",
    **{name: f"evaluate {name}" for name in EVALUATIONS},
    **{name: f"runs {name}" for name in UPKEEP},
    "index": "search index",
    "report": "compare revisions",
}
"""Short forms and older spellings, which the help does not list."""


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from itm import __version__

        typer.echo(f"graded-itm {__version__}")
        raise typer.Exit


def resolve(words: Sequence[str]) -> tuple[Command, list[str], list[str]]:
    """The command that words name, its name as words, and the words that are left for it.

    >>> resolve(["gc", "--apply"])[1:]
    (['runs', 'gc'], ['--apply'])
    >>> resolve(["search", "index", "--index", "photos.index"])[1:]  # a search for the word `index`
    (['search'], ['index', '--index', 'photos.index'])
    """
    first, *rest = words
    if first == "report":  # `itm report --compare A B`
        rest = [word.removeprefix("--compare=") for word in rest if word != "--compare"]
    name, *rest = [*ALIASES.get(first, first).split(), *rest]
    command = next(group[name] for group in COMMANDS.values() if name in group)
    searches = name == "search" and any(word.startswith("--index") for word in rest)
    if rest and rest[0] in command.below and not searches:
        return command.below[rest[0]], [name, rest[0]], rest[1:]
    return command, [name], rest


def load(command: Command, name: Sequence[str]) -> Any:
    """A command as click runs it, with what lies below it and its example at the end of its help."""
    module, _, attribute = command.target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        found.command()(function)
    built: Any = typer.main.get_command(found)
    width = max(map(len, command.below), default=0)
    lines = [f"  itm {name[0]} {part:{width}}  {below.summary}" for part, below in command.below.items()]
    listed = ["Below it, each with its own --help:", *lines, ""] if lines else []
    if command.example:
        built.epilog = "\n".join([*listed, "Example:", f"  {command.example}"])
        # click's type knows no such attribute; with it the lines stay as they are
        setattr(built, "rich_markup_mode", "rich")  # noqa: B010
    built.context_settings.setdefault("help_option_names", ["-h", "--help"])
    return built


def _add(name: str, summary: str, panel: str | None) -> None:
    @app.command(
        name,
        help=summary,
        rich_help_panel=panel,
        hidden=panel is None,
        context_settings=PASS_ON,
        add_help_option=False,
    )
    def run(context: typer.Context) -> None:
        command, found, words = resolve([name, *context.args])
        load(command, found)(words, prog_name=" ".join(["itm", *found]))


for panel, group in COMMANDS.items():
    for name, command in group.items():
        _add(name, command.summary, panel)
for name, meant in ALIASES.items():
    _add(name, f"The same as `itm {meant}`.", None)


def main() -> None:
    """Run the command line; what a user or the machine can mend is one message without a traceback, and status 1."""
    write_anything()
    try:
        app()
    except Exception as error:
        extra = next((EXTRAS[word] for word in sys.argv[1:3] if word in EXTRAS), "")
        message = message_of(error, extra)
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


if __name__ == "__main__":
    main()
