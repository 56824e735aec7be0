"""Time that AAHR's training aids add to a step: prototypes, queue, graph against the base, interleaved in one process.

    python benchmarks/aahr_step.py [--images 128 256] [--steps 7] [--page]

The base is the similarity `aahr` with the loss of the entry `aahr` and nothing added. A step draws the batch, makes its
labels, encodes, computes the loss, its gradient, and moves the weights; all aids are on (no start is waited for).
Features are those of frozen towers (widths of the preset `flickr8k`), so that no tower hides what the aids cost. Goal:
with all of them a step takes at most 1.6 times the base's.

Steps of the sides take turns, the first ones are left out, and medians of the ratios within a round are compared. On a
CPU the time is that of the process, which other work on the machine hardly touches; on a GPU it is wall time until the
GPU is done. --page writes docs/results/aahr-step.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import smoke
import torch
from results_page import commit, machine
from training_step import DEVICE, PARAMETERS, engine, one_layer, timed, train_parameters

from itm.config.methods import MethodParameters
from itm.features import TokenRows
from itm.methods.method import Widths
from itm.training.inputs import Inputs, Split
from itm.training.loop import seed_everything

PAGE = Path(__file__).parents[1] / "docs/results/aahr-step.md"
SMALLEST = "--images 8 --steps 1 --dimension 16 --regions 4 --words 9 --page {scratch}/page.md"
WIDTHS = Widths(1280, 384, 1280, 384)
CAPTIONS = 2
AIDS = ("prototypes", "queue", "graph")
GOAL = 1.6


def entries(name: str) -> dict[str, MethodParameters]:
    """The base, the base with one aid each, and all of them, with every aid on from the first step."""
    whole = PARAMETERS.method[name]
    started = {aid: getattr(whole.add, aid).model_copy(update={"start": 0}) for aid in AIDS}

    def with_aids(*chosen: str) -> MethodParameters:
        add = whole.add.model_copy(update={aid: started[aid] if aid in chosen else None for aid in AIDS})
        return whole.model_copy(update={"add": add})

    return {"base": with_aids(), **{f"+ {aid}": with_aids(aid) for aid in AIDS}, "all": with_aids(*AIDS)}


def data(images: int, regions: int, words: int, widths: Widths = WIDTHS, captions: int = CAPTIONS) -> Split:
    """Random features; captions have 8 to `words` words."""
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(images), captions)

    def inputs(rows: int, width: int, token_width: int, lengths: np.ndarray) -> Inputs:
        tokens = (generator.normal(size=(n, token_width)).astype(np.float16) for n in lengths)
        pooled = torch.from_numpy(generator.normal(size=(rows, width)).astype(np.float32))
        return Inputs(pooled, tokens=TokenRows.join(tokens, token_width), token_rows=np.arange(rows))

    image = inputs(images, widths.image, widths.image_tokens, np.full(images, regions))
    lengths = generator.integers(8, words + 1, len(owner))
    text, root = (inputs(len(each), widths.text, widths.text_tokens, each) for each in (lengths, np.array([2])))
    return Split(image, text, owner, root)


def stepping(parameters: MethodParameters, split: Split, images: int, dimension: int) -> Callable[[], None]:
    """One training step of a method."""
    train = train_parameters(images, "float32", captions=1)
    return engine(parameters, None, split, WIDTHS, one_layer(dimension), train)[0]


def compare(images: int, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Median seconds of each side, and the median of its ratio to the base in the same round."""
    split = data(2 * images, options.regions, options.words)
    sides = {
        name: stepping(parameters, split, images, options.dimension)
        for name, parameters in entries(options.method).items()
    }
    seconds = np.array([[timed(step) for step in sides.values()] for _ in range(options.steps + 2)])[2:]
    ratios = np.median(seconds / seconds[:, :1], 0)
    return {
        name: (float(value), float(ratio))
        for name, value, ratio in zip(sides, np.median(seconds, 0), ratios, strict=True)
    }


def page(found: dict[int, dict[str, tuple[float, float]]], options: argparse.Namespace) -> str:
    lines = [
        "<!-- Written by benchmarks/aahr_step.py. Do not edit. -->",
        "# What AAHR's training aids cost",
        "",
        f"Time of a training step with prototypes, queue and graph, as a multiple of the step without them (entry "
        f"`{options.method}`, dimension {options.dimension}, {options.regions} regions, up to {options.words} words, "
        f"features of frozen towers, one caption an image). Medians of {options.steps} rounds in one process; goal: "
        f"all of them at most {GOAL} times the base.",
        "",
        f"Made at commit {commit()} on {machine()}, {options.threads} thread, by "
        f"`python benchmarks/aahr_step.py --page`.",
        "",
        "| images in a batch | " + " | ".join(next(iter(found.values()))) + " |",
        "|---|" + "---|" * len(next(iter(found.values()))),
    ]
    for images, sides in found.items():
        cells = [
            f"{seconds * 1e3:.0f} ms" if name == "base" else f"× {ratio:.2f}"
            for name, (seconds, ratio) in sides.items()
        ]
        lines.append(f"| {images} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--method", default="aahr", help="entry with all three aids")
    found.add_argument("--images", type=int, nargs="+", default=[128, 256])
    found.add_argument("--steps", type=int, default=7)
    found.add_argument("--dimension", type=int, default=512)
    found.add_argument("--regions", type=int, default=49)
    found.add_argument("--words", type=int, default=24)
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--page", type=Path, nargs="?", const=PAGE, help="write the page, there if a file is named")
    return found


def main() -> None:
    options = smoke.read(parser(), SMALLEST)
    seed_everything(0, options.threads)
    found = {}
    for images in options.images:
        found[images] = compare(images, options)
        print(f"{images} images, {DEVICE.type}")
        for name, (seconds, ratio) in found[images].items():
            print(f"  {name:12} {seconds * 1e3:8.1f} ms  x {ratio:.3f}" + (f" (goal {GOAL})" if name == "all" else ""))
    if options.page:
        options.page.write_text(page(found, options), encoding="utf-8")


if __name__ == "__main__":
    main()
