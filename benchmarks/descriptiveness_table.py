"""Descriptiveness by every option and control on scenes, Flickr8k and HierarCaps: a page of results and its figure.

    ITM_MIRROR=... python benchmarks/descriptiveness_table.py [--out docs/results]

Texts only: scenes are generated (no image is drawn), the real captions are read from the mirror. Without ITM_MIRROR
the columns of the real data sets stay empty.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import smoke

from itm.config import Parameters, load
from itm.config.data import ScoreParameters
from itm.data.clean.captions import clean_captions
from itm.data.files import read_arrow
from itm.data.layout import CAPTIONS, HIERARCHIES, RATINGS
from itm.data.readers.base import READERS, read
from itm.text.controls import CONTROLS, control_values
from itm.text.corpus import Corpus, Scored, read_corpus, score_corpus, score_counts
from itm.text.counts import count_words
from itm.text.measures import yes_share
from itm.text.tables import codes
from itm.text.validity import group_taus, spearman, variance_within

ROOT = Path(__file__).parents[1]
SMALLEST = "--params {params} --resamples 5 --out {scratch}"

OPTIONS: dict[str, dict[str, Any]] = {
    "tfidf": {},
    "tfidf, a document is an image's captions": {"document": "image"},
    "tfidf, plain idf": {"idf": "plain"},
    "tfidf, binary tf": {"term_frequency": "binary"},
    "tfidf, log tf": {"term_frequency": "log"},
    "tfidf, stop words too": {"keywords": "all"},
    "tfidf, length-normalised (ablation)": {"term_frequency": "length_normalised"},
    "keyword_count": {"kind": "keyword_count"},
    "expected_fit": {"kind": "expected_fit"},
    "expected_fit, a document is an image's captions": {"kind": "expected_fit", "document": "image"},
}


@dataclass(frozen=True)
class Measure:
    """A figure that can be resampled: its value over chosen units, from what is computed once a score."""

    name: str
    units: int
    prepare: Callable[[np.ndarray], np.ndarray]
    value: Callable[[np.ndarray, np.ndarray], float]


def order(name: str, levels: np.ndarray, groups: np.ndarray, strict: bool = False) -> Measure:
    units = len(group_taus(np.zeros(len(levels)), levels, groups)[0])
    return Measure(
        name,
        units,
        lambda scores: group_taus(scores, levels, groups)[int(strict)].astype(np.float64),
        lambda prepared, chosen: float(prepared[chosen].mean()),
    )


def correlation(name: str, truth: np.ndarray) -> Measure:
    return Measure(
        name, len(truth), lambda scores: scores, lambda scores, chosen: spearman(scores[chosen], truth[chosen])
    )


def within(name: str, images: np.ndarray) -> Measure:
    return Measure(name, 0, lambda scores: scores, lambda scores, chosen: variance_within(scores, images))


@dataclass(frozen=True)
class Part:
    """Texts of one data set with what is known of them."""

    title: str
    rows: np.ndarray | None
    """Rows of the captions; None: the chains."""
    measures: list[Measure]


def tables(name: str, parameters: Parameters, folder: Path) -> Path:
    """A clean folder of the texts of a data set, as the clean stage writes them."""
    raw, clean = folder / f"{name}-raw", folder / f"{name}-clean"
    raw.mkdir()
    clean.mkdir()
    if name == "scenes":
        from itm.data.scenes import write_scenes

        write_scenes(parameters.datasets.scenes, raw / "scenes.jsonl")
        (raw / "scenes-images.tar").touch()
    else:
        mirror = Path(os.environ["ITM_MIRROR"])
        for file, place in (
            ("flickr8k-images.zip", "flickr8k-224/Flickr8k_Dataset.zip"),
            ("flickr8k-text.zip", "flickr8k-224/Flickr8k_text.zip"),
            ("hierarcaps.csv", "hierarcaps/hierarcaps_test.csv"),
            ("hierarcaps-images.zip", "hierarcaps/images.zip"),
        ):
            (raw / file).symlink_to(mirror.resolve() / place)
    assert name in READERS
    found = read(name, raw, parameters)
    for file, table in (
        (CAPTIONS, clean_captions(found.captions, parameters.clean).table),
        (HIERARCHIES, found.hierarchies),
        (RATINGS, found.ratings),
    ):
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), clean / file)
    return clean


def parts(corpus: Corpus, name: str, chains: pa.Table) -> list[Part]:
    yes = yes_share(corpus)
    found = []
    if (corpus.levels > 0).any():
        for split in ("dev", "test"):
            rows = np.flatnonzero((corpus.splits == split) & (corpus.levels > 0))
            levels, images, fits = corpus.levels[rows], corpus.images[rows], corpus.multiplicity[rows]
            measures = [
                order("tau", levels, images),
                order("strict", levels, images, strict=True),
                correlation("multiplicity", fits),
                within("within", images),
            ]
            found.append(Part(f"{name} {split}", rows, measures))
    if yes:
        voted = np.flatnonzero(np.isin(corpus.caption_ids, np.array(list(yes))))
        shares = np.array([yes[int(caption)] for caption in corpus.caption_ids[voted]])
        found.append(Part("CrowdFlower", voted, [correlation("yes votes", shares)]))
        rows = np.flatnonzero(corpus.splits == "test")
        found.append(Part(f"{name} test", rows, [within("within", corpus.images[rows])]))
    levels, images = chains["level"].to_numpy(), codes(chains["image_id"])[0]
    title = "scenes chains" if name == "scenes" else "HierarCaps"
    found.append(Part(title, None, [order("tau", levels, images), order("strict", levels, images, strict=True)]))
    return found


def values(corpus: Corpus, chains: pa.Table, base: ScoreParameters) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores of the captions and of the chains' texts, by name."""
    texts = count_words(chains["text"])
    found, first = {}, None
    for name, options in OPTIONS.items():
        scored = score_corpus(corpus, ScoreParameters.model_validate({**base.model_dump(), **options}))
        of_chains = score_counts(texts, corpus, scored.idf)
        found[name] = (scored.captions.descriptiveness, of_chains.descriptiveness)
        first = first or (scored.captions, of_chains)
    assert first is not None
    for control in CONTROLS:
        found[control] = (
            control_values(control, first[0].descriptiveness, first[0].words, corpus.splits),
            control_values(control, first[1].descriptiveness, first[1].words, np.zeros(len(texts))),
        )
    return found


def cells(part: Part, found: dict[str, tuple[np.ndarray, np.ndarray]], resamples: int) -> dict[str, dict[str, str]]:
    """The table's cells by score and column; * marks a difference from the first score beyond its 95 % interval."""
    result: dict[str, dict[str, str]] = {name: {} for name in found}
    for measure in part.measures:
        prepared = {
            name: measure.prepare(d[part.rows] if part.rows is not None else chain)
            for name, (d, chain) in found.items()
        }
        everything = np.arange(measure.units)
        generator = np.random.default_rng(0)
        samples = [
            generator.integers(measure.units, size=measure.units) for _ in range(resamples * bool(measure.units))
        ]
        first = next(iter(found))
        basis = np.array([measure.value(prepared[first], sample) for sample in samples])
        for name, values in prepared.items():
            shown = f"{measure.value(values, everything):.3f}"
            if name != first and samples:
                differences = np.array([measure.value(values, sample) for sample in samples]) - basis
                low, high = np.nanquantile(differences, [0.025, 0.975])
                shown += "\\*" if low > 0 or high < 0 else ""
            result[name][f"{part.title}: {measure.name}"] = shown
    return result


def markdown(rows: dict[str, dict[str, str]], columns: list[str]) -> str:
    lines = ["| score | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [
        f"| {name} | " + " | ".join(row.get(column, "") for column in columns) + " |" for name, row in rows.items()
    ]
    return "\n".join(lines)


def examples(corpus: Corpus, scored: Scored) -> str:
    """The least and most descriptive captions of the test split, and the captions of one image in their order."""
    texts = read_arrow(corpus.folder / CAPTIONS, ["text"])["text"].to_pylist()
    d = scored.captions.descriptiveness
    test = np.flatnonzero(corpus.splits == "test")
    ranked = test[np.argsort(d[test], kind="stable")]
    distinct = list({texts[row]: row for row in ranked.tolist()[::-1]}.values())[::-1]
    image = corpus.images[test[np.argmax(corpus.images[test] == corpus.images[test[0]])]]
    own = test[corpus.images[test] == image]

    def listed(rows: list[int]) -> str:
        lines = ["| d | true images | level | caption |", "|---:|---:|---:|---|"]
        lines += [f"| {d[r]:.2f} | {corpus.multiplicity[r]} | {corpus.levels[r]} | {texts[r]} |" for r in rows]
        return "\n".join(lines)

    return "\n\n".join(
        [
            "Least descriptive captions of the scenes test split:",
            listed(distinct[:5]),
            "Most descriptive ones:",
            listed(distinct[-5:][::-1]),
            "The captions of one scene in the order of d:",
            listed(own[np.argsort(d[own], kind="stable")].tolist()),
        ]
    )


def figure(path: Path, shown: list[tuple[str, Corpus, Scored]]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "itm", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    canvas, axes = plt.subplots(1, len(shown) + 1, figsize=(4 * (len(shown) + 1), 3), layout="constrained")
    for axis, (name, corpus, scored) in zip(axes, shown, strict=False):
        d = scored.captions.descriptiveness
        for split, style in (("train", "-"), ("test", "--")):
            axis.hist(d[corpus.splits == split], bins=60, density=True, histtype="step", linestyle=style, label=split)
        axis.axvspan(scored.normaliser.low, scored.normaliser.high, alpha=0.08, label="dn from 0 to 1")
        axis.set(title=f"{name}: distribution of d", xlabel="d", ylabel="density")
        axis.legend()
    name, corpus, scored = shown[0]
    rows = (corpus.splits == "test") & (corpus.multiplicity > 0)
    for level in sorted(set(corpus.levels[rows].tolist())):
        own = np.flatnonzero(rows & (corpus.levels == level))[:100]
        axes[-1].scatter(scored.captions.descriptiveness[own], corpus.multiplicity[own], s=6, label=f"level {level}")
    axes[-1].set(title=f"{name}: d and true multiplicity", xlabel="d", ylabel="images that fit", yscale="log")
    axes[-1].legend()
    canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


HEADER = """<!-- Written by `python benchmarks/descriptiveness_table.py` with ITM_MIRROR set. Do not edit. -->
# Descriptiveness: the score, its options and its controls

Document frequencies come from the training captions of scenes ({scenes}) and of Flickr8k
({flickr8k}); HierarCaps is scored with those of Flickr8k. Options were looked at on scenes dev; every other column is
for the report only.

- **tau**: mean Kendall tau-b of the score against the true level, over an image's captions or a chain's four texts;
  **strict**: share of images (chains) whose levels are all in the right order. 1 is best.
- **multiplicity**: Spearman correlation with the true number of images that the caption fits; -1 is best.
- **yes votes**: Spearman correlation, over {voted} Flickr8k captions, with the mean share of CrowdFlower's yes votes
  for images other than the caption's own: generic captions fit more images, so -1 is best.
- **within**: share of the score's variance that lies within an image's captions (no target; an order needs it above 0).
- \\*: differs from the first row: the 95 % interval of the paired difference ({resamples} bootstrap samples of images,
  chains or captions) does not hold 0.

"""


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    found.add_argument("--resamples", type=int, default=400, help="bootstrap samples of a difference")
    found.add_argument("--out", type=Path, default=ROOT / "docs/results")
    return found


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    out, parameters = given.out.resolve(), load(given.params)
    os.chdir(ROOT)  # the list of a subset is read from there
    names = ["scenes"] + ["flickr8k"] * ("ITM_MIRROR" in os.environ)
    rows: dict[str, dict[str, str]] = {name: {} for name in (*OPTIONS, *CONTROLS)}
    shown, facts = [], {"scenes": "none", "flickr8k": "none", "voted": "0"}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            corpus = read_corpus(tables(name, parameters, Path(folder)))
            chains = read_arrow(corpus.folder / HIERARCHIES, ["image_id", "level", "text"])
            found = values(corpus, chains, parameters.score)
            for part in parts(corpus, name, chains):
                for score, row in cells(part, found, given.resamples).items():
                    rows[score] |= row
            facts[name] = f"{len(corpus.training):,} captions"
            facts["voted"] = f"{len(yes_share(corpus)):,}"
            shown.append((name, corpus, score_corpus(corpus, parameters.score)))
        told = examples(shown[0][1], shown[0][2])
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    scenes = [column for column in columns if column.startswith("scenes")]
    real = [column for column in columns if column not in scenes]
    pages = [HEADER.format(**facts, resamples=given.resamples) + "## Scenes", markdown(rows, scenes)]
    pages += ["## Real captions", markdown(rows, real)] if real else []
    pages += ["## Distributions", "![d on the data sets, and d against the true multiplicity](descriptiveness.svg)"]
    pages += ["## Examples", told]
    options = json.dumps(parameters.score.model_dump())
    pages += [f"Options of the first row, and of all others where nothing else is said: `{options}`."]
    out.mkdir(parents=True, exist_ok=True)
    (out / "descriptiveness.md").write_text("\n\n".join(pages) + "\n", encoding="utf-8")
    figure(out / "descriptiveness.svg", shown)


if __name__ == "__main__":
    main()
