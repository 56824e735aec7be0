"""`itm compare revisions A B`: two git revisions or DVC experiments against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from itm.comparison.changes import Change
    from itm.pipeline.revisions import Revision

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def revisions(
    a: Annotated[str, typer.Argument(help="A git revision or DVC experiment; `workspace` is what lies here.")],
    b: Annotated[str, typer.Argument(help="The other, in the same form.")],
    out: Annotated[Path, typer.Option(help="Write the page here.")] = Path("comparison.html"),
    samples: Annotated[int, typer.Option(help="Bootstrap samples, and as many permutations.", min=1)] = 2000,
) -> None:
    """Compare the results of two revisions: differences with pictures, tests and what led to them.

    `itm compare revisions HEAD workspace`, `itm compare revisions main my-experiment`. The report of the workspace
    itself, report.html, is made by `dvc repro report`.
    """
    from itm.comparison.changes import TESTS, compare_revisions
    from itm.comparison.page import data_claim, to_html
    from itm.config.presets import project_root
    from itm.console import console
    from itm.data.files import atomic_path, check_outputs
    from itm.pipeline.revisions import changed_code, read_revision

    check_outputs(out)
    root = project_root()
    first, second = (read_revision(root, name) for name in (a, b))
    changes = compare_revisions(first, second, samples=samples)
    html = to_html(first, second, changes, _parameters(first, second), changed_code(root, first, second))
    printed = console()
    printed.print(f"A = {first.label}, B = {second.label}")
    printed.print(_table(changes))
    for name in dict.fromkeys(change.test for change in changes):
        printed.print(f"{name}: {TESTS[name]}")
    for line in data_claim(first, second):
        printed.print(line)
    with atomic_path(out) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    printed.print(f"written: {out}")


def _parameters(first: Revision, second: Revision) -> list[tuple[str, str, str]]:
    """The parameters that differ; entries of methods and data sets that run in neither are left out."""
    from itm.comparison.page import value_text
    from itm.config.presets import changes

    ran = {
        section: {name for each in (first, second) for name in names(each)}
        for section, names in (
            ("method", lambda each: each.parameters.get("methods", [])),
            ("datasets", lambda each: [each.parameters.get("data", {}).get("name")]),
        )
    }
    found = []
    for change in changes(first.parameters, second.parameters):
        section, _, rest = change.key.partition(".")
        if section not in ran or rest.split(".")[0] in ran[section]:
            found.append((change.key, value_text(change.old), value_text(change.new)))
    return found


def _table(changes: Sequence[Change]) -> Table:
    from itm.comparison.page import MARKS, interval, probability, shown
    from itm.console import table

    rows = [
        (
            f"{change.benchmark} {change.column.label}",
            change.method,
            change.column.show(change.a.mean),
            change.column.show(change.b.mean),
            f"{shown(change)} {MARKS[change.verdict]}".rstrip(),
            interval(change),
            probability(change),
            change.test,
        )
        for change in changes
    ]
    return table(("figure", "method", "A", "B", "B - A", "95% interval", "p (Holm)", "test"), rows)
