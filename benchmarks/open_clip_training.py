"""Images a second of our training, of a bare loop and of open_clip's own training code, side by side in one run.

    python benchmarks/open_clip_training.py --images 1024 --precision bfloat16 --peak-tflops 989 --page   # an H200
    python benchmarks/open_clip_training.py --images 4 --steps 1 --rounds 1                               # a dry run

All three train the same open_clip model from random weights by InfoNCE on drawn pixels and words, one caption an image:
the bare loop on one batch that lies on the device; ours with its sampler, labels, gradient clipping and checks;
open_clip's `train_one_epoch` on batches that are ready as floats. They take turns, `--rounds` times; medians are given.
--peak-tflops is what the device can do at that precision, by its data sheet: the share of it that the model's own
operations use (MFU) is then given too, counted on a step of the bare loop.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import smoke
import torch
from results_page import ROOT, commit, machine
from torch.utils.flop_counter import FlopCounterMode
from training_step import (
    DEVICE,
    PARAMETERS,
    Step,
    bare,
    build_towers,
    engine,
    one_layer,
    pixels_and_ids,
    train_parameters,
)

from itm.training.dataset import tower_widths
from itm.training.loop import seed_everything

CONTEXT, WORDS = 77, 49_408
PAGE = ROOT / "docs/results/gpu-training.md"
SMALLEST = "--model tiny --images 2 --steps 1 --rounds 1 --peak-tflops 1 --page {scratch}/page.md"
TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 16, "head_width": 8, "patch_size": 32},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": WORDS, "width": 16, "heads": 2, "layers": 1},
}
"""The model of --smoke."""


class Batches:
    """Batches for `train_one_epoch`: its data loader, and the holder that it asks for one."""

    def __init__(self, images: int, side: int, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(images, 3, side, side, generator=generator)
        ids = torch.randint(1, WORDS - 2, (images, CONTEXT), generator=generator)
        ids[:, -1] = WORDS - 1  # the end of the text, where open_clip reads the embedding
        self.batch = (pixels, ids)
        self.num_batches, self.num_samples = count, images * count
        self.dataloader = self

    def set_epoch(self, epoch: int) -> None:
        """Every epoch is the same."""

    def __iter__(self) -> Any:
        return iter([self.batch] * self.num_batches)


def open_clip_epoch(model_name: str, images: int, side: int, precision: str, steps: int) -> Step:
    """So many steps of open_clip's own training."""
    import open_clip
    from open_clip_train.train import train_one_epoch

    model = open_clip.create_model(model_name, force_image_size=side, output_dict=True).to(DEVICE)
    loss = open_clip.ClipLoss()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    given = Namespace(
        device=DEVICE.type,
        precision={"float32": "fp32", "bfloat16": "amp_bf16"}[precision],
        distill=False,
        accum_freq=1,
        skip_scheduler=True,
        horovod=False,
        grad_clip_norm=1.0,
        rank=0,
        world_size=1,
        batch_size=images,
        log_every_n_steps=10 * steps,
        wandb=False,
    )
    data = {"train": Batches(images, side, steps)}
    return lambda: train_one_epoch(model, data, loss, 0, adam, None, None, None, given)


def seconds(run: Step) -> float:
    """Wall time of a run, until the device is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def repeated(step: Step, count: int) -> Step:
    def run() -> None:
        for _ in range(count):
            step()

    return run


def table(names: list[str], times: np.ndarray, images: int, operations: int, peak: float | None) -> str:
    """Markdown; `times`: seconds of a step, (rounds, sides)."""
    middle = np.median(times, 0)
    lines = ["| | images/s | step | times the bare loop's | MFU |", "|:--|--:|--:|--:|--:|"]
    for name, found, ratio in zip(names, middle, np.median(times / times[:, :1], 0), strict=True):
        share = "" if peak is None else f"{100 * operations / found / (peak * 1e12):.1f} %"
        lines.append(f"| {name} | {images / found:,.0f} | {1000 * found:.1f} ms | {ratio:.3f} | {share} |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--model", default="ViT-B-32", help="open_clip model")
    found.add_argument("--images", type=int, default=1024)
    found.add_argument("--steps", type=int, default=30, help="steps of a side in a round")
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--peak-tflops", type=float, help="of the device at this precision")
    found.add_argument("--page", type=Path, nargs="?", const=PAGE, help="write the page, there if a file is named")
    return found


def add_tiny() -> None:
    """Let open_clip know the model `tiny`."""
    import open_clip

    file = smoke.scratch() / "tiny.json"
    file.write_text(json.dumps(TINY), encoding="utf-8")
    open_clip.add_model_config(file)


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    if given.smoke:
        add_tiny()
    logging.getLogger().setLevel(logging.WARNING)
    seed_everything(0, given.threads)
    towers = build_towers(given.model).to(DEVICE)
    data = pixels_and_ids(towers, 2 * given.images)
    parameters = train_parameters(given.images, given.precision, captions=1)
    ours, encoder, batches = engine(
        PARAMETERS.method["clip"], towers, data, tower_widths(towers), one_layer(512), parameters
    )
    plain = bare(encoder, data, next(batches))
    sides = {
        "bare loop": repeated(plain, given.steps),
        "ours": repeated(ours, given.steps),
        "open_clip_train": open_clip_epoch(given.model, given.images, towers.image_size, given.precision, given.steps),
    }
    with FlopCounterMode(display=False) as counter:
        plain()
    for run in sides.values():  # warm
        run()
    times = np.array([[seconds(run) / given.steps for run in sides.values()] for _ in range(given.rounds)])
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else machine()
    text = (
        f"{given.model}, {given.images} images of {towers.image_size} px a batch, {given.precision}, {device}, torch "
        f"{torch.__version__}; {given.rounds} rounds of {given.steps} steps\n\n"
        + table(list(sides), times, given.images, counter.get_total_flops(), given.peak_tflops)
    )
    print(text)
    if given.page:
        options = f"--images {given.images} --precision {given.precision} --peak-tflops {given.peak_tflops}"
        head = (
            "<!-- Written by benchmarks/open_clip_training.py. Do not edit. -->\n# Training on a GPU\n\n"
            f"Made at commit {commit()} by `python benchmarks/open_clip_training.py {options} --page`.\n\n"
        )
        given.page.write_text(head + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
