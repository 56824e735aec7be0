"""Our training step against a bare loop, and DITM's loss against InfoNCE, interleaved in one process.

    python benchmarks/training_step.py [--model ViT-B-32] [--images 128] [--steps 40] [--loss-steps 10] [--profile]

1. Overhead. The bare loop has the same towers, heads and batch, ready on the device: forward, InfoNCE with the images
   on the diagonal, backward, AdamW. Ours draws the batch, makes its labels, clips gradients, checks and keeps figures.
   Goal: at most 3 % over the bare loop. Without --model the towers are the small ones of the preset `scenes`;
   with it, an open_clip model with random weights.
2. Loss. A step of `clip` and a step of `ditm`, each at 1,024 images with two captions each, with trained towers and on
   features of frozen towers (widths of the preset `flickr8k`). Goal: DITM's step takes at most 5 % longer.

Steps of the two sides take turns, the first few are left out, and medians are compared. On a CPU the time is that of
the process, which other work on the machine hardly touches; on a GPU it is wall time until the GPU is done.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import smoke
import torch
from scipy import sparse

from itm.config.methods import MethodParameters
from itm.config.model import EmbeddingParameters, TrainParameters
from itm.config.presets import compose
from itm.methods.build import build_method
from itm.methods.method import Context, Widths
from itm.towers.base import Features, Towers
from itm.towers.scratch import ScratchTowers
from itm.training.batches import Sampler
from itm.training.dataset import tower_widths
from itm.training.distributed import Group
from itm.training.figures import EpochFigures
from itm.training.inputs import Encoder, Inputs, Split
from itm.training.loop import seed_everything
from itm.training.relations import Relations
from itm.training.schedule import optimiser
from itm.training.steps import Stepper

PARAMETERS = compose("scenes", root=Path(__file__).parents[1])
WIDE = Widths(1280, 384, 1280, 384)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CAPTIONS, VOCABULARY, KEYWORDS = 5, 4000, 5
Step = Callable[[], None]


def train_parameters(images: int, precision: str, captions: int = 2) -> TrainParameters:
    given = {"batch_images": images, "captions_per_image": captions, "precision": precision}
    return TrainParameters.model_validate({**PARAMETERS.train.model_dump(), **given})


def relations(owner: np.ndarray[Any, Any]) -> Relations:
    """Of random captions with about as many keywords as real ones; owner: (captions,) image."""
    generator = np.random.default_rng(0)
    words = (VOCABULARY * generator.random((len(owner), KEYWORDS)) ** 3).astype(int)  # some are frequent
    rows = np.repeat(np.arange(len(owner)), KEYWORDS)
    held = sparse.csr_array((np.ones(len(rows)), (rows, words.ravel())), shape=(len(owner), VOCABULARY))
    held.data[:] = generator.uniform(3, 9, len(held.data))
    return Relations(owner, np.arange(owner.max() + 1), generator.random(len(owner)), "paired", held)


def pixels_and_ids(towers: Towers, images: int) -> Split:
    generator = np.random.default_rng(0)
    side = towers.image_size
    pixels = generator.integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    texts = [" ".join(generator.choice(list("abcdefgh"), generator.integers(6, 16))) for _ in range(images * CAPTIONS)]
    owner = np.repeat(np.arange(images), CAPTIONS)
    return Split(Inputs(raw=pixels), Inputs(raw=towers.tokenize(texts)), owner, Inputs(raw=towers.tokenize([""])))


def features(images: int, widths: Widths) -> Split:
    generator = torch.Generator().manual_seed(0)
    image, text = (
        torch.randn(n, w, generator=generator)
        for n, w in zip((images, images * CAPTIONS), (widths.image, widths.text), strict=True)
    )
    owner = np.repeat(np.arange(images), CAPTIONS)
    return Split(Inputs(image), Inputs(text), owner, Inputs(torch.zeros(1, widths.text)))


def build_towers(model: str) -> Towers:
    if model:
        from itm.towers.open_clip_model import OpenClipTowers

        return OpenClipTowers(model=model, weights="", image_size=224, context_length=77)
    return ScratchTowers(
        list("abcdefgh"), image_size=64, context_length=32, image_width=24, text_width=128, text_layers=2, text_heads=4
    )


def engine(
    options: MethodParameters,
    towers: Towers | None,
    data: Split,
    widths: Widths,
    embedding: EmbeddingParameters,
    parameters: TrainParameters,
) -> tuple[Step, Encoder, Iterator[Any]]:
    """One step of ours, its encoder, and its batches."""
    torch.manual_seed(0)
    method = build_method(options, embedding, widths).to(DEVICE)
    encoder = Encoder(method, towers, DEVICE, parameters.precision)
    encoder.train()
    if (below := towers or method.words) is not None:
        for addition in method.added.values():
            addition.watch(below)
    made = optimiser(method, towers, parameters)
    modules: dict[str, torch.nn.Module] = {"method": method, **({"towers": towers} if towers else {})}
    stepper = Stepper(encoder, data, relations(data.owner), made, modules, parameters, 0, Group())
    sampler = Sampler(data.owner, parameters.batch_images, parameters.captions_per_image, 0)
    batches = itertools.chain.from_iterable(sampler.epoch(epoch) for epoch in itertools.count())
    figures, counter = EpochFigures(every=50 if DEVICE.type == "cuda" else 1), itertools.count()

    def step() -> None:
        taken = stepper.take(next(batches), Context(epoch=50, step=next(counter)))
        figures.add(0, taken.losses, taken.total, taken.gradient_norm)

    return step, encoder, batches


def one_layer(dimension: int) -> EmbeddingParameters:
    """Heads of one layer."""
    return EmbeddingParameters(dimension=dimension, layers=1, hidden=dimension, dropout=0.0)


def bare(encoder: Encoder, data: Split, rows: Any) -> Step:
    """The plainest loop around the same modules, on one batch that is ready."""
    method, towers, precision = encoder.method, encoder.towers, encoder.type
    assert towers is not None
    parameters = [p for module in (method, towers) for p in module.parameters()]
    adam = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    pixels, ids = data.images.batch(rows.images, DEVICE), data.texts.batch(rows.captions, DEVICE)
    assert isinstance(pixels, torch.Tensor)
    assert isinstance(ids, torch.Tensor)
    owner = torch.arange(len(rows.images), device=DEVICE).repeat_interleave(len(rows.captions) // len(rows.images))
    positives = owner[None, :] == torch.arange(len(rows.images), device=DEVICE)[:, None]
    target = positives / positives.sum(1, keepdim=True)

    def step() -> None:
        with torch.autocast(DEVICE.type, precision or torch.bfloat16, enabled=precision is not None):
            image = method.encode_image(Features(towers.image(towers.preprocess(pixels)).pooled)).embedding
            text = method.encode_text(Features(towers.text(ids).pooled)).embedding
        logits = image @ text.T / 0.07
        loss = torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, owner)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()

    return step


def compare(first: Step, second: Step, steps: int) -> tuple[float, float, float]:
    """Median seconds of the two, and the median of the ratios of neighbouring steps."""
    seconds = np.array([[timed(first), timed(second)] for _ in range(steps + 3)])[3:]
    return *np.median(seconds, 0), float(np.median(seconds[:, 1] / seconds[:, 0]))


def timed(step: Step) -> float:
    """Seconds of a step: of this process; on a GPU by the clock."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()
    step()
    return time.process_time() - started


def profile(step: Step, steps: int) -> None:
    with cProfile.Profile() as found:
        for _ in range(steps):
            step()
    pstats.Stats(found).sort_stats("tottime").print_stats(18)


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--model", default="", help="open_clip model; '' = the small towers")
    found.add_argument("--images", type=int, default=128)
    found.add_argument("--loss-images", type=int, default=1024)
    found.add_argument("--steps", type=int, default=40)
    found.add_argument("--loss-steps", type=int, default=10)
    found.add_argument("--precision", default="float32")
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--profile", action="store_true", help="print where our steps spend their time")
    return found


def main() -> None:
    options = smoke.read(parser(), "--images 4 --loss-images 4 --steps 1 --loss-steps 1 --profile")
    seed_everything(0, options.threads)

    towers = build_towers(options.model).to(DEVICE)
    data = pixels_and_ids(towers, 2 * options.images)
    widths = tower_widths(towers)
    parameters = train_parameters(options.images, options.precision)
    ours, encoder, batches = engine(PARAMETERS.method["clip"], towers, data, widths, one_layer(128), parameters)
    plain = bare(encoder, data, next(batches))
    first, second, ratio = compare(plain, ours, options.steps)
    kind = options.model or "small towers"
    print(f"{kind}, {options.images} images x 2 captions, {options.precision}, {DEVICE.type}")
    print(f"  bare {first * 1e3:.1f} ms, ours {second * 1e3:.1f} ms: x {ratio:.3f} (goal 1.03)")
    if options.profile:
        profile(ours, 10)

    precision = options.precision
    wide = train_parameters(options.loss_images, precision)
    trained = pixels_and_ids(towers, 2 * options.loss_images)
    compare_losses(kind, towers, trained, widths, wide, options.loss_steps, options.profile)
    frozen = features(2 * options.loss_images, WIDE)
    compare_losses("features", None, frozen, WIDE, wide, options.steps, options.profile)


def compare_losses(
    kind: str,
    towers: Towers | None,
    data: Split,
    widths: Widths,
    parameters: TrainParameters,
    steps: int,
    profiled: bool,
) -> None:
    """A step of `clip` against one of `ditm` on the same towers."""
    clip, ditm = (
        engine(PARAMETERS.method[name], towers, data, widths, one_layer(512), parameters)[0]
        for name in ("clip", "ditm")
    )
    first, second, ratio = compare(clip, ditm, steps)
    print(f"{kind}, {parameters.batch_images} images x 2 captions, {parameters.precision}, {DEVICE.type}")
    print(f"  clip {first * 1e3:.1f} ms, ditm {second * 1e3:.1f} ms: x {ratio:.3f} (goal 1.05)")
    if profiled:
        profile(ditm, 10)


if __name__ == "__main__":
    main()
