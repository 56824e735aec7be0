"""Anchors of the grade's prior in worlds whose truth is known, and time and memory of grades of all pairs.

    python benchmarks/grading.py [--page docs/results/grade-anchor.md] [--project .]

No model is trained; with --project those that the pipeline has trained there are measured as well, on dev. Three
worlds are pure chance, s = 3 x true + noise and d = -log q + noise: one as the theory assumes, two with one of its
assumptions broken. The others are captions of the scenes with their exact truth and their real descriptiveness; the
similarity is the share of a caption's atoms that an image makes true, cubed, times 0.4 + 0.6 dn (as contrastive
training lifts specific captions), with noise of each pair, image and caption.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import smoke
from numpy.typing import NDArray
from results_page import ROOT, commit, machine

from itm.config import load
from itm.data.layout import DEV_EMBEDDINGS
from itm.data.scenes.generate import scenes
from itm.data.scenes.truth import grade
from itm.data.tables import TRUE
from itm.evaluation.tables import Tables
from itm.grading import Graded, fit_calibrator
from itm.grading.texts import Captions, describe, fit_idf
from itm.metrics import DotProduct, Scorer, calibration_of, set_f1, spearman, threshold_curve
from itm.vectors.pipeline import read_embeddings

Floats = NDArray[np.float64]
World = tuple[Floats, NDArray[np.int64], Floats, NDArray[np.bool_]]
"""Similarities [images, captions], owners, d, truth."""
ANCHORS = (0.3, 0.5, 0.7, 0.9)
HEAD = "| world | anchor | ECE | ECE, P > .05 | pairs said to be true | Spearman of counts | AP (of s) | set F1 |"


def chance(images: int, seed: int, near: float = 0.0, lift: float = 0.0) -> World:
    """A share `near` of the false pairs are near misses; own pairs are `lift` standard deviations higher."""
    rng = np.random.default_rng(seed)
    captions = 5 * images
    q = np.exp(rng.uniform(np.log(0.01), np.log(0.5), captions))
    truth = rng.random((images, captions)) < q
    truth[rng.integers(images, size=captions), np.arange(captions)] = True
    owners = np.array([rng.choice(np.flatnonzero(column)) for column in truth.T])
    misses = ~truth & (rng.random(truth.shape) < near)
    s = 3.0 * truth + rng.standard_normal(truth.shape) + 1.8 * misses * rng.random(truth.shape)
    s[owners, np.arange(captions)] += lift
    return s, owners, -np.log(q) + 0.5 * rng.standard_normal(captions), truth


def of_scenes(images: int, noise: float) -> Iterator[World]:
    """Dev, then test."""
    parameters = load(ROOT / "params.yaml")
    sizes = {"train_images": 6 * images, "dev_images": images, "test_images": images}
    options = parameters.datasets.scenes.model_copy(update=sizes)
    drawn = {split: list(scenes(options, split)) for split in ("train", "dev", "test")}
    rows = {name: [(n, each) for n, one in enumerate(found) for each in one.captions] for name, found in drawn.items()}
    owners = {name: np.array([n for n, _ in found]) for name, found in rows.items()}
    texts = {name: [each.text for _, each in found] for name, found in rows.items()}
    idf = fit_idf(Captions(np.arange(len(texts["train"])), owners["train"], texts["train"]), parameters.score)
    low, high = np.quantile(describe(texts["train"], idf), [0.01, 0.99])
    for seed, name in enumerate(("dev", "test")):
        rng = np.random.default_rng(seed)
        degree = grade([each.requirement for _, each in rows[name]], drawn[name])
        d = describe(texts[name], idf)
        s = (degree / TRUE) ** 3 * (0.4 + 0.6 * np.clip((d - low) / (high - low), 0, 1))
        s += noise * rng.standard_normal(s.shape) + noise / 2 * rng.standard_normal(s.shape[1])
        yield s + noise / 2 * rng.standard_normal((len(s), 1)), owners[name], d, degree == TRUE


def of_project(project: Path, methods: list[str], seed: int = 0) -> Iterator[tuple[str, World, World]]:
    """The dev embeddings of models: pairs of every other image, and of the rest."""
    tables = Tables(project / "data/clean", project / "data/scored", "dev")
    for name in methods:
        vectors = read_embeddings(project / f"embeddings/{name}/seed{seed}", DEV_EMBEDDINGS)
        scorer = vectors.scorer(tables.images["image_id"], tables.captions["row"])
        s = scorer.block(slice(None), slice(None), np.float64).astype(np.float64)
        halves = []
        for rest in (0, 1):
            images = np.arange(len(s)) % 2 == rest
            captions = images[tables.owners]
            owners = np.cumsum(images)[tables.owners[captions]] - 1
            truth = tables.grades[np.ix_(images, captions)] == TRUE
            halves.append((s[np.ix_(images, captions)], owners, tables.descriptiveness[captions], truth))
        yield name, halves[0], halves[1]


def line(name: str, fitted: World, measured: World, anchor: float) -> str:
    calibrator = fit_calibrator(*fitted[:3], model="", idf="", anchor=anchor)
    s, _, d, truth = measured
    p = calibrator.probability(s, d)
    likely = p > 0.05
    count = p.sum(axis=0)
    cells = [
        f"{calibration_of(p, truth).ece:.3f}",
        f"{calibration_of(p[likely], truth[likely]).ece:.3f}",
        f"{count.sum() / truth.sum():.2f} x",
        f"{spearman(count, truth.sum(axis=0)):.3f}",
        f"{threshold_curve(p, truth).average_precision:.3f} ({threshold_curve(s, truth).average_precision:.3f})",
        f"{set_f1(p, truth).mean():.3f}",
    ]
    return f"| {name} | {anchor} | {' | '.join(cells)} |"


def models(project: Path) -> str:
    found = [HEAD.replace("world", "model"), "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, fitted, measured in of_project(project, load(project / "params.yaml").methods):
        found += [line(name, fitted, measured, anchor) for anchor in ANCHORS]
    return "\n".join(found)


def worlds(images: int) -> str:
    found = [HEAD, "|---|---:|---:|---:|---:|---:|---:|---:|"]
    made = {"chance": {}, "chance, near misses": {"near": 0.1}, "chance, own pairs higher": {"lift": 0.5}}
    pairs = {name: (chance(images, 0, **how), chance(images, 1, **how)) for name, how in made.items()}
    for noise in (0.1, 0.2, 0.3):
        dev, test = of_scenes(images, noise)
        pairs[f"scenes, noise {noise}"] = dev, test
    for name, (fitted, measured) in pairs.items():
        found += [line(name, fitted, measured, anchor) for anchor in ANCHORS]
    return "\n".join(found)


def speed(images: int, captions: int) -> str:
    """Similarities of all pairs in blocks, and their grades."""
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((count, 512)).astype(np.float32) / 22 for count in (images, captions)]
    plain = DotProduct(vectors[0], vectors[1])
    d = rng.uniform(0, 5, captions)
    s, owners, known, _ = chance(100, 0)
    calibrator = fit_calibrator(s, owners, known, model="", idf="")
    took: dict[str, float] = {}
    graded = Graded(plain, calibrator, d)
    graded.block(slice(0, 1), slice(0, captions))
    scorers: list[tuple[str, Scorer]] = [("similarities", plain), ("grades", graded)]
    for name, scorer in 3 * scorers:
        start = time.perf_counter()
        for top in range(0, images, 128):
            scorer.block(slice(top, min(top + 128, images)), slice(0, captions))
        took[name] = min(took.get(name, np.inf), time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return (
        f"{images:,} images x {captions:,} captions, 512 numbers each, in blocks, the best of three: similarities "
        f"{took['similarities']:.1f} s, grades {took['grades']:.1f} s "
        f"(**{took['grades'] / took['similarities']:.2f}** times; bound 2); {memory:.0f} MB at most, that of the "
        "worlds above included."
    )


def parser() -> argparse.ArgumentParser:
    parser = smoke.parser(__doc__)
    parser.add_argument("--images", type=int, default=500, help="of each world, with five captions each")
    parser.add_argument("--gallery", type=int, nargs=2, default=(5000, 25000), help="images and captions to time")
    parser.add_argument("--project", type=Path, help="folder where the pipeline ran on scenes up to encode")
    parser.add_argument("--page", type=Path, help="write the page here; else it is printed")
    return parser


def main() -> None:
    options = smoke.read(parser(), "--images 60 --gallery 50 200 --page {scratch}/page.md")
    of_models, made_of = "", ""
    if options.project:
        made_of = " --project ."
        of_models = (
            "The same on trained models (seed 0, dev): fitted on the pair labels of every other image, measured on the "
            f"truth of the rest.\n\n{models(options.project)}\n\n"
        )
    page = (
        "<!-- Written by benchmarks/grading.py. Do not edit. -->\n\n# The grade's anchor, where the truth is known\n\n"
        f"Made by `python benchmarks/grading.py --page docs/results/grade-anchor.md{made_of}` at {commit()} on"
        f" {machine()}.\n"
        + __doc__.split("\n\n", 2)[2].replace("\n", " ").strip().join(("\n", "\n\n"))
        + f"{options.images} images a world, five captions each; fitted on one draw (dev), measured on another "
        "(test). ECE over all pairs, and over those with P above .05; true pairs predicted, as a multiple of those "
        "that there are; Spearman of predicted and true numbers of images a caption; average precision over all pairs "
        "of P (of s); F1 of the captions with P >= .5.\n\n"
        f"{worlds(options.images)}\n\n{of_models}{speed(*options.gallery)}\n"
    )
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
