"""A training step of each method of `regions data=coco` on one core at a tenth of its batch: its time and memory.

    python benchmarks/papers.py [--entries ...] [--steps 5] [--page]

Beside it stands the trained text encoder alone, on the same captions: forward, backward and AdamW. Images' towers are
frozen and their features cached, so that no image tower is in a step. The encoder is BERT-base with random weights,
made from its configuration (no hub); regions are 36 x 2,048 numbers, captions have 8 to 24 tokens, 20 % of their words
changed. All aids are on from the first step. Each figure is made in a process of its own, one after the other: the
median of the process's seconds over some steps, the first two left out, and the most memory that it held, PyTorch and
all else among it.
--page writes docs/results/papers.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import smoke
import torch
from aahr_step import data
from results_page import commit, machine
from training_step import Step, engine, timed

from itm.config.methods import MethodParameters
from itm.config.parameters import Parameters
from itm.config.presets import compose
from itm.methods.method import Widths
from itm.towers.hugging_face import TextEncoder, width_of
from itm.towers.word_ids import Changes, WordIds
from itm.training.inputs import Split
from itm.training.loop import seed_everything

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/results/papers.md"
SMALLEST = "--entries aahr-faithful --steps 1 --part 60 --layers 1 --page {scratch}/page.md"
CAPTIONS, REGIONS, WORDS = 5, 36, 24
WIDTHS = Widths(512, 512, 2048, 512, description_width=1024)
"""Of CLIP ViT-B/32, of BUTD's regions, and of BGE's vectors."""
MASK, PAD, VOCABULARY = 103, 0, 30_522


@dataclass(frozen=True)
class Measured:
    """seconds: of a step. gigabytes: the most that the process held. trained: parameters. images, captions: a batch."""

    seconds: float
    gigabytes: float
    trained: int
    images: int
    captions: int


def with_bert(whole: Parameters, name: str, bert: str) -> MethodParameters:
    """An entry with another text encoder and every aid on from the first step."""
    options = whole.method[name].model_dump()
    if options["add"]["words"]:
        options["add"]["words"]["model"] = bert
    for aid in ("prototypes", "graph", "queue"):
        if options["add"][aid]:
            options["add"][aid]["start"] = 0
    return MethodParameters.model_validate(options)


def split_for(options: MethodParameters, images: int) -> Split:
    """Random features, with token ids and vectors of descriptions where the entry asks for them."""
    found = data(images, REGIONS, WORDS, WIDTHS, CAPTIONS)
    words, generator = options.add.words, np.random.default_rng(1)
    if words is not None:
        for texts in (found.texts, found.root):
            assert texts.tokens is not None
            lengths, texts.tokens = np.diff(texts.tokens.first), None
            real = np.arange(WORDS) < lengths[:, None]
            ids = np.where(real, generator.integers(1000, VOCABULARY, real.shape), PAD)
            inner = real & (np.arange(WORDS) > 0) & (np.arange(WORDS) < lengths[:, None] - 1)
            changes = Changes(words.masked, words.replaced, words.dropped, MASK, VOCABULARY, 0)
            texts.words = WordIds(ids, np.where(inner, np.arange(WORDS) - 1, -1), PAD, changes)
    if options.add.descriptions is not None:
        for inputs, name in ((found.images, "description"), (found.texts, "caption"), (found.root, "caption")):
            vectors = torch.from_numpy(generator.normal(size=(len(inputs), WIDTHS.description_width)))
            inputs.description_vectors = {name: torch.nn.functional.normalize(vectors.float(), dim=1)}
    return found


def encoder_alone(options: MethodParameters, split: Split, captions: int) -> tuple[Step, int]:
    """Forward, backward and AdamW of the text encoder, on some captions; and how many parameters it has."""
    words, ids = options.add.words, split.texts.words
    assert words is not None
    assert ids is not None
    encoder = TextEncoder(words.model).train()
    adam = torch.optim.AdamW(encoder.parameters(), lr=1e-5, fused=True)
    generator = np.random.default_rng(2)

    def step() -> None:
        rows = generator.choice(len(ids.ids), captions, replace=False)
        states, _ = encoder(torch.from_numpy(ids.rows(rows)))
        adam.zero_grad(set_to_none=True)
        states.square().mean().backward()
        adam.step()

    return step, sum(each.numel() for each in encoder.parameters())


def measure(name: str, alone: bool, bert: str, options: argparse.Namespace) -> tuple[float, float, int, int, int]:
    """The fields of `Measured` of one entry, or of its text encoder alone, in this process."""
    seed_everything(0, options.threads)
    whole = compose("regions", ["data=coco"], root=ROOT).of(name)
    entry = with_bert(whole, name, bert)
    images = max(round(whole.train.batch_images / options.part), 4)
    train = whole.train.model_copy(update={"batch_images": images})
    captions = images * train.captions_per_image
    split = split_for(entry, 2 * images)
    if alone:
        step, trained = encoder_alone(entry, split, captions)
    else:
        added = entry.add.descriptions
        widths = replace(WIDTHS, prototypes=0 if added is None else added.prototypes)
        if entry.add.words is not None:
            widths = replace(widths, text_tokens=width_of(bert))
        step, encoder, _ = engine(entry, None, split, widths, whole.embedding, train)
        trained = sum(each.numel() for each in encoder.method.parameters() if each.requires_grad)
    seconds = [timed(step) for _ in range(options.steps + 2)][2:]
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return float(np.median(seconds)), held, trained, images, captions


def in_its_own_process(name: str, alone: bool, bert: str, options: argparse.Namespace) -> Measured:
    """The same, where nothing was before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return Measured(*pool.submit(measure, name, alone, bert, options).result())


def write_bert(folder: Path, layers: int) -> str:
    """BERT-base's configuration as a folder that transformers reads."""
    from transformers import BertConfig

    BertConfig(num_hidden_layers=layers).save_pretrained(folder)
    return str(folder)


def page(found: dict[str, tuple[Measured, Measured | None]], options: argparse.Namespace) -> str:
    lines = [
        "<!-- Written by benchmarks/papers.py. Do not edit. -->",
        "# A step of the papers' settings",
        "",
        f"Methods of `itm preset regions data=coco` on one core, batches of 1 / {options.part} of its: seconds of a "
        f"training step and the most memory of its process, beside the trained text encoder alone (BERT-base, "
        f"{options.layers} layers, random weights: forward, backward, AdamW on the same captions). {REGIONS} regions "
        f"of 2,048 numbers, captions of 8 to {WORDS} tokens, all aids on. Images' towers are frozen and take no time "
        f"in a step; so do those of texts in an entry without an encoder. Medians of {options.steps} steps. What a GPU "
        "takes at the whole batch is not measured.",
        "",
        f"Made at commit {commit()} on {machine()}, {options.threads} thread, by `python benchmarks/papers.py --page`.",
        "",
        "| entry | images x captions | trained | step | encoder alone | ratio | memory | encoder alone |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, (step, alone) in found.items():
        batch = f"{step.images} x {step.captions // step.images}"
        own = f"{step.seconds:.2f} s", f"{step.gigabytes:.1f} GB"
        beside = ("–", "–", "–")
        if alone is not None:
            beside = (f"{alone.seconds:.2f} s", f"{step.seconds / alone.seconds:.2f}", f"{alone.gigabytes:.1f} GB")
        cells = (f"`{name}`", batch, f"{step.trained / 1e6:.1f} M", own[0], *beside[:2], own[1], beside[2])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--entries", nargs="+", help="entries of `method`; all that the recipe names without it")
    found.add_argument("--steps", type=int, default=5)
    found.add_argument("--part", type=int, default=10, help="the recipe's batch is divided by this")
    found.add_argument("--layers", type=int, default=12, help="of BERT")
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--page", type=Path, nargs="?", const=PAGE, help="write the page, there if a file is named")
    return found


def main() -> None:
    options = smoke.read(parser(), SMALLEST)
    bert = write_bert(smoke.scratch() / "bert", options.layers)
    whole = compose("regions", ["data=coco"], root=ROOT)
    found: dict[str, tuple[Measured, Measured | None]] = {}
    encoders: dict[int, Measured] = {}  # by captions in a batch: it knows of nothing else
    for name in options.entries or whole.methods:
        step, alone = in_its_own_process(name, False, bert, options), None
        if whole.entry(name).add.words is not None:
            if step.captions not in encoders:
                encoders[step.captions] = in_its_own_process(name, True, bert, options)
            alone = encoders[step.captions]
        found[name] = step, alone
        beside = f"; encoder alone {alone.seconds:.2f} s, {alone.gigabytes:.1f} GB" if alone else ""
        print(f"{name:20} {step.images} images {step.seconds:6.2f} s, {step.gigabytes:.1f} GB{beside}", flush=True)
    if options.page:
        options.page.write_text(page(found, options), encoding="utf-8")


if __name__ == "__main__":
    main()
