"""Frozen towers by PyTorch and by other backends: speed and difference, in turns within one run.

    python benchmarks/backends.py [--towers offline ViT-B-32] [--images 256] [--texts 1024] [--threads 1] [--page PAGE]

`offline` are EfficientNet-Lite0 and MiniLM with their weights; another name is one of open_clip's models with random
weights, `scratch` the small towers. Photos are random pixels, prepared by the towers within the measured time; texts
are random words, 4 to 20 of them, in batches of similar length. A backend and PyTorch in float32 take turns batch by
batch, the first of a pair now one, now the other, so that both meet the same other work of the machine; ratios are of
the summed times. CPU: of the process's CPU time, all threads together. Difference: the largest of any value of pooled
features, the largest value, and the largest length of a row's difference as a part of the row's length (a graph of
onnxruntime is refused where three photos or texts show more than 1e-4). "Same bits": whether a second pass over all
gave them. With more than one thread on a busy machine PyTorch's threads wait for each other (OpenMP; GOMP_SPINCOUNT),
which tells nothing of the towers.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import smoke
import torch
from results_page import ROOT, commit, machine, write_section

from itm.config import load
from itm.errors import ModelError
from itm.features import text_batches
from itm.towers.base import Computed, Features, Towers
from itm.towers.build import BFloat16Towers, build_towers
from itm.towers.graphs import FOLDER, GraphTowers

WORDS = ["a", "the", "dog", "man", "two", "red", "runs", "stands", "grass", "beach", "with", "small", "bicycle", "over"]
SMALLEST = "--towers scratch --images 4 --texts 4 --batch 2 --threads 1 --page {scratch}/page.md"
HEAD = (
    "| towers | part | backend | PyTorch, 1/s | backend, 1/s | ratio | ratio, CPU | difference | of values up to "
    "| relative | same bits |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def towers_of(name: str) -> Towers:
    """Towers by the name of the command line, at 224 px and 48 tokens (open_clip: 77)."""
    kind = name if name in ("offline", "scratch") else "open_clip"
    given = {"kind": kind, "open_clip_model": name, "open_clip_weights": "", "context_length": 48}
    given |= {"image_size": 32 if kind == "scratch" else 224} | ({"context_length": 77} if kind == "open_clip" else {})
    torch.manual_seed(0)
    return build_towers(load(ROOT / "params.yaml").towers.model_copy(update=given), [*WORDS, *WORDS]).eval()


def batches_of(towers: Towers, given: argparse.Namespace) -> dict[str, list[torch.Tensor]]:
    """What goes into both: RGB pixels and token ids."""
    rng = np.random.default_rng(0)
    size = towers.image_size
    texts = [" ".join(rng.choice(WORDS, rng.integers(4, 21))) for _ in range(given.texts)]
    ids = towers.tokenize(texts)
    rows = text_batches((ids != 0).sum(1), given.batch)
    pixels = [
        torch.from_numpy(rng.integers(0, 256, (min(given.batch, given.images - start), size, size, 3), np.uint8))
        for start in range(0, given.images, given.batch)
    ]
    return {"image": pixels, "text": [torch.from_numpy(ids[places]) for places in rows]}


def computed(towers: Towers, part: str) -> Callable[[torch.Tensor], Features]:
    return towers.text if part == "text" else lambda pixels: towers.image(towers.preprocess(pixels))


def line(name: str, run: list[Callable[[torch.Tensor], Features]], batches: list[torch.Tensor]) -> str:
    """One row of the table, which begins with `name`: PyTorch first in `run`."""
    for each in run:
        each(batches[0])
    wall, cpu = np.zeros(2), np.zeros(2)
    found: list[list[np.ndarray]] = [[], []]
    for turn, batch in enumerate(batches):
        for side in (0, 1) if turn % 2 else (1, 0):
            start, used = time.perf_counter(), time.process_time()
            features = run[side](batch)
            wall[side] += time.perf_counter() - start
            cpu[side] += time.process_time() - used
            found[side].append(features.pooled.numpy())
    ours, theirs = (np.concatenate(each) for each in found[::-1])
    again = np.concatenate([run[1](batch).pooled.numpy() for batch in batches])
    relative = (np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max()
    rates = len(ours) / wall
    return (
        f"| {name} | {rates[0]:.1f} | {rates[1]:.1f} | {wall[0] / wall[1]:.1f} | {cpu[0] / cpu[1]:.1f} | "
        f"{np.abs(ours - theirs).max():.1e} | {np.abs(theirs).max():.2f} | {relative:.1e} | "
        f"{'yes' if np.array_equal(ours, again) else 'NO'} |"
    )


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--towers", nargs="+", default=["offline"])
    found.add_argument("--images", type=int, default=256)
    found.add_argument("--texts", type=int, default=1024)
    found.add_argument("--batch", type=int, default=32)
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--page", type=Path, help="write the figures to their section of this Markdown file as well")
    return found


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    torch.set_num_threads(given.threads)
    said = [HEAD]
    for name in given.towers:
        towers = towers_of(name)
        backends: list[Computed] = [BFloat16Towers(copy.deepcopy(towers))]
        try:
            backends.append(GraphTowers(towers, smoke.scratch() if given.smoke else FOLDER))
        except ModelError as error:
            said.append(f"| {name} | | none: {error} |" + " |" * 8)
        with torch.inference_mode():
            for part, batches in batches_of(towers, given).items():
                for each in backends:
                    run = [computed(towers, part), computed(each, part)]
                    said.append(line(f"{name} | {part} | {each.backend}", run, batches))
                    print(said[-1], file=sys.stderr)
    print("\n".join(said))
    if given.page:
        command = " ".join(["python benchmarks/backends.py", *sys.argv[1:]])
        protocol = (__doc__ or "").split("\n\n", 2)[2].strip()
        text = (
            f"At commit {commit()} on {machine()}, threads: {given.threads}, all in one run "
            f"of\n\n```\n{command}\n```\n\n{protocol}\n\n" + "\n".join(said)
        )
        write_section(given.page, __file__, "Frozen features by backend", text)


if __name__ == "__main__":
    main()
