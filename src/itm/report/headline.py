"""The first lines of the report: its subject, and claims that each follow from a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from itm.config import Parameters
from itm.report.columns import Column
from itm.report.dataset import Dataset
from itm.report.gallery import SHOWN
from itm.report.results import Results, Summary
from itm.report.tables import Chance, Summaries, results_table
from itm.report.words import TITLES, counted, listed


def featured_method(parameters: Parameters) -> str:
    """The method whose examples are chosen: the first whose loss is ditm (controls come later), or the last."""
    graded = [name for name in parameters.methods if parameters.method[name].loss.type == "ditm"]
    return graded[0] if graded else parameters.methods[-1]


def headline(results: Results, parameters: Parameters, data: Dataset) -> str:
    """What was trained on what, and tested on what, in one sentence."""
    train_images, train_captions = data.counts.get("train", (0, 0))
    images, captions = len(data.image_ids), len(data.captions.texts)
    seeds = f"{len(results.seeds)} seeds each" if len(results.seeds) > 1 else "one seed each"
    return (
        f"{listed(results.methods)} trained for {counted(parameters.train.epochs, 'epoch')} on "
        f"{counted(train_images, 'image')} with {counted(train_captions, 'caption')} of {data.name} ({seeds}; towers: "
        f"{parameters.towers.kind}{', frozen' if parameters.towers.frozen else ''}), compared on "
        f"{counted(images, data.tables.split + ' image')} with {counted(captions, 'caption')}."
    )


def claims(
    results: Results,
    chosen: Sequence[tuple[str, Column]],
    summaries: Summaries,
    chance: Chance,
    agreement: Mapping[str, Summary],
    shares: Mapping[str, Mapping[str, float]],
    featured: str,
    baseline: str,
) -> list[str]:
    """What the numbers say, computed: who leads, what the labels miss, and whether captions are in order."""
    found = []
    if len(results.methods) > 1:
        table = results_table("", chosen, results.methods, summaries, {}, {})
        wins = {row.name: sum(cell.best for cell in row.cells) for row in table.rows}
        parts = [f"{name} in {count}" for name, count in wins.items() if count]
        found.append(f"Best of {len(chosen)} headline figures (ties counted for each): {listed(parts)}.")
    found.append(_against_chance(results.methods, chosen, summaries, chance))
    if featured in agreement and agreement[featured].defined:
        text = f"Of two captions of an image, {featured} gives the more descriptive one the higher similarity in "
        text += f"{100 * agreement[featured].mean:.1f} % of the pairs"
        if baseline != featured and agreement[baseline].defined:
            text += f", {baseline} in {100 * agreement[baseline].mean:.1f} %"
        found.append(text + " (chance: 50 %).")
    if featured in shares and "true" in shares[featured]:
        part = shares[featured]
        found.append(
            f"Of the first {SHOWN} images that {featured} finds for a caption, "
            f"{100 * (part['labelled'] + part['true']):.1f} % are right, but only {100 * part['labelled']:.1f} % carry "
            "the label: R@K counts the rest as mistakes."
        )
    return found


def _against_chance(
    methods: Sequence[str], chosen: Sequence[tuple[str, Column]], summaries: Summaries, chance: Chance
) -> str:
    below = []
    for benchmark, each in chosen:
        level = chance.get(benchmark, {}).get(each.key)
        if level is not None:
            sign = 1 if each.higher else -1
            # NaN is not above chance either
            poor = [m for m in methods if not sign * summaries[m][benchmark][each.key].mean > sign * level]
            if poor:
                below.append(f"{each.label} of {TITLES.get(benchmark, benchmark)} ({listed(poor)})")
    if below:
        return f"Not above chance: {'; '.join(below)}."
    return "Every method is above chance in every headline figure."
