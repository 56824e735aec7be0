"""The content of the page, computed once; its HTML and its Markdown are two ways to write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from itm.config import Parameters
from itm.data.files import read_json
from itm.evaluation.tables import Tables
from itm.report import data_quality, gallery, order, plots, provenance, series, training
from itm.report.chance import chance_levels
from itm.report.columns import Column, column, columns, headline_columns
from itm.report.compare import compare
from itm.report.dataset import Dataset, load_dataset
from itm.report.grading import GradePart, grade_part
from itm.report.headline import claims, featured_method, headline
from itm.report.order import PathExample, path_examples
from itm.report.pictures import Pictures
from itm.report.relaxed import Relaxed, relaxed_pairs
from itm.report.results import Results, Summary, aggregate
from itm.report.tables import Table, control_rows, full_table, quoted_rows, results_table
from itm.report.training import Cost, Run, costs
from itm.report.words import ABOUT, TITLES, leaves, spoken


@dataclass(frozen=True)
class BenchmarkPart:
    """A benchmark's key table, all its metrics, and the protocol behind them."""

    name: str
    title: str
    about: str
    table: Table
    full: Table
    protocol: list[tuple[str, str]]


@dataclass(frozen=True)
class OrderPart:
    """Generic to specific: the curve, the share of pairs in order, and the distribution of descriptiveness."""

    curve: Markup
    agreement: list[tuple[str, Summary]]
    distribution: Markup


@dataclass(frozen=True)
class Page:
    """The content of the report, in the order of reading."""

    title: str
    headline: str
    claims: list[str]
    methods: list[str]
    summary: Table
    baseline: str
    featured: str
    parts: list[BenchmarkPart]
    grade: GradePart | None
    costs: list[Cost]
    order: OrderPart
    shares: dict[str, dict[str, float]]
    relaxed: list[Relaxed]
    threshold: Markup
    paths: list[PathExample]
    text_to_image: list[gallery.Example]
    image_to_text: list[gallery.Example]
    training: list[Markup]
    training_by_method: list[Markup]
    training_runs: list[Run]
    measures: list[tuple[str, list[str]]]
    cleaning: data_quality.Quality | None
    quality: list[tuple[str, list[tuple[str, str]]]]
    provenance: list[tuple[str, list[tuple[str, str]]]]
    parameters: str
    data: Dataset
    pictures: Pictures
    seeds: int


def build_page(results: Results, parameters: Parameters, clean: Path, scored: Path, root: Path) -> Page:
    """The page of these results; `root` is where dvc.lock lies."""
    report, evaluate = parameters.report, parameters.evaluate
    data = load_dataset(parameters.data.name, Tables(clean, scored, parameters.encode.split))
    summaries = aggregate(results, evaluate.digits)
    chance = chance_levels(results, parameters, clean, scored)
    baseline, featured = results.methods[0], featured_method(parameters)
    verdicts = compare(results, baseline)
    parts = []
    leading: list[tuple[str, Column]] = []
    for benchmark in results.benchmarks:
        keys, title = results.keys(benchmark), TITLES.get(benchmark, benchmark)
        chosen = [(benchmark, each) for each in columns(benchmark, keys)]
        leading += [(benchmark, each) for each in headline_columns(benchmark, keys)]
        shown, protocol = [each for _, each in chosen], results.protocol(benchmark)
        below = control_rows(shown, protocol) + quoted_rows(data.name, benchmark, shown, protocol)
        table = results_table(title, chosen, results.methods, summaries, chance, verdicts, below)
        everything = full_table(title, benchmark, [column(key) for key in keys], results.methods, summaries, chance)
        parts.append(
            BenchmarkPart(
                benchmark, title, ABOUT.get(benchmark, ""), table, everything, protocol_lines(results, benchmark)
            )
        )
    summary = results_table("Headline", leading, results.methods, summaries, chance, verdicts)
    top = _first_seed_tops(results)
    embed = data.name == "scenes" or report.embed_photos
    agreement, order_part = _order(results, data)
    shares = gallery.shares(data, top["t2i"]) if top else {}
    options = {name: parameters.method[name] for name in results.methods}
    relaxed = relaxed_pairs(data, scored, options, min(4, report.examples))
    histories = training.read_histories(results.runs, results.methods, results.seeds)
    return Page(
        title=report.title,
        headline=headline(results, parameters, data),
        claims=claims(results, leading, summaries, chance, agreement, shares, featured, baseline),
        methods=list(results.methods),
        summary=summary,
        baseline=baseline,
        featured=featured,
        parts=parts,
        grade=grade_part(results, data, featured),
        costs=costs(results),
        order=order_part,
        shares=shares,
        relaxed=relaxed,
        threshold=_threshold(results, relaxed),
        paths=path_examples(results, clean, featured, min(4, report.examples)),
        text_to_image=gallery.text_to_image(data, top["t2i"], featured, baseline, report.examples) if top else [],
        image_to_text=gallery.image_to_text(data, top["i2t"], featured, baseline, report.examples) if top else [],
        training=training.comparison_charts(histories),
        training_by_method=training.method_charts(histories),
        training_runs=training.read_runs(results.runs, results.methods, results.seeds),
        measures=measure_rows(results.runs.parent, parameters.encode.split),
        cleaning=data_quality.read_quality(results.runs.parent / "quality.json"),
        quality=quality(results.runs.parent),
        provenance=provenance.facts(parameters, clean, scored, root),
        parameters=provenance.parameters_text(parameters),
        data=data,
        pictures=Pictures(clean, embed),
        seeds=len(results.seeds),
    )


def protocol_lines(results: Results, benchmark: str) -> list[tuple[str, str]]:
    """The protocol that all runs of a benchmark share, flattened, data set and split first."""
    protocol = results.protocol(benchmark)
    first, last = ["dataset", "split", "images", "captions"], [n for n in protocol if n.endswith("_ids")]
    names = [n for n in first if n in protocol]
    names += [n for n in protocol if n not in (*names, *last, "benchmark")] + last
    lines = [(name.replace("_", " "), spoken(protocol[name])) for name in names]
    return [*lines, ("training seeds", ", ".join(map(str, results.seeds)))]


def quality(folder: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """What cleaning and scoring measured (results/quality.json, results/score.json), as far as they exist."""
    found = []
    for title, name in (("Data quality", "quality.json"), ("Descriptiveness", "score.json")):
        if (folder / name).is_file():
            found.append((title, leaves(read_json(folder / name))))
    return found


def measure_rows(folder: Path, split: str) -> list[tuple[str, list[str]]]:
    """How each measure of descriptiveness orders captions, from results/score.json; empty where that is unknown.

    Columns: tau within chains, share of chains in perfect order, tau with an image's levels, Spearman correlation
    with the number of images a caption is true of.
    """
    path = folder / "score.json"
    measures = read_json(path).get("scores", {}) if path.is_file() else {}
    places = [
        ("chains", "chain_tau"),
        ("chains", "chain_strict"),
        (split, "level_tau"),
        (split, "multiplicity_spearman"),
    ]
    show = Column("", "", "correlation").show
    rows = [(name, [show(parts.get(part, {}).get(key)) for part, key in places]) for name, parts in measures.items()]
    return [(name.replace("_", " "), cells) for name, cells in rows if any(cell != "–" for cell in cells)]


def _first_seed_tops(results: Results) -> dict[str, dict[str, Any]]:
    """The ranked lists of each method's first seed, by direction; empty when retrieval is not evaluated."""
    if "retrieval" not in results.benchmarks:
        return {}
    arrays = {m: results.arrays(m, results.seeds[0], "retrieval") for m in results.methods}
    return {task: {m: stored[f"{task}_top"] for m, stored in arrays.items()} for task in ("t2i", "i2t")}


def _order(results: Results, data: Dataset) -> tuple[dict[str, Summary], OrderPart]:
    chart = plots.lines(
        "Similarity of an image to its own captions, by descriptiveness",
        "descriptiveness dn (0 generic, 1 specific)",
        "similarity, less the image's mean",
        series.order_series(results, data),
    )
    captions, shares = data.captions, dict[str, list[float]]()
    for method, _, own in series.own_similarities(results):
        share = order.agreement(own, captions.normalised, captions.owner)
        shares.setdefault(method, []).append(share)
    agreement = order.agreements(shares)
    return agreement, OrderPart(chart, list(agreement.items()), _distribution(data))


def _threshold(results: Results, relaxed: list[Relaxed]) -> Markup:
    """Precision against recall of "similarity above a threshold is a true pair"; empty where the truth is unknown.

    Beside the models stand the rules of the ditm methods, which know captions only.
    """
    shown = series.threshold_series(results)
    if not shown:
        return Markup("")
    title = "True pairs found by one threshold on all pairs"
    rules = [each.curve for each in relaxed if each.curve is not None]
    return plots.lines(title, "recall of true pairs", "precision", [*shown, *rules], y_from_zero=True)


def _distribution(data: Dataset) -> Markup:
    """The histogram of descriptiveness, stacked by level where levels are known."""
    edges, groups = series.distribution(data)
    title = f"Descriptiveness of the {data.tables.split} captions"
    return plots.histogram(title, "descriptiveness dn (0 generic, 1 specific)", edges, groups)
