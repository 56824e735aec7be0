"""`report`: one page and one table of metrics from all evaluated runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from itm.config import load
from itm.errors import first_few
from itm.stages.harness import outputs, run

log = logging.getLogger(__name__)


def report(
    runs: Annotated[Path, typer.Option(help="folder of the runs' metrics: METHOD/seedN/BENCHMARK.json")],
    evaluations: Annotated[Path, typer.Option(help="folder of the per-query values: METHOD/seedN/BENCHMARK.npz")],
    clean: Annotated[Path, typer.Option(help="folder of the clean tables")],
    scored: Annotated[Path, typer.Option(help="folder of the scored captions")],
    out: Annotated[Path, typer.Option(help="folder for report.html, report.md, results/metrics.json, results/plots")],
) -> None:
    """Compare all methods of params.yaml in one page."""
    from itm.data.files import atomic_path, write_json
    from itm.report.page import build_page
    from itm.report.render import to_html, to_markdown
    from itm.report.results import aggregate, as_metrics, collect
    from itm.report.series import write_plots

    parameters = load()
    results = collect(runs, evaluations, parameters.methods, parameters.seeds, parameters.benchmarks)
    if results.ignored:
        log.info(
            "%d results are not of the methods, seeds and benchmarks in params.yaml and are left out: %s",
            len(results.ignored),
            first_few(results.ignored),
        )
    page = build_page(results, parameters, clean, scored, out)
    digits = parameters.evaluate.digits
    with outputs():
        for name, text in (("report.html", to_html(page)), ("report.md", to_markdown(page))):
            with atomic_path(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        write_json(out / "results" / "metrics.json", as_metrics(aggregate(results, digits)))
        write_plots(out / "results" / "plots", results, page.data, digits)
    log.info("%s: %d methods, %d benchmarks", out / "report.html", len(results.methods), len(results.benchmarks))


if __name__ == "__main__":
    run(report)
