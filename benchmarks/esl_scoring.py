"""Scores of ESL: one product of stacked vectors against a loop over captions and levels, and the memory of a gallery.

    python benchmarks/esl_scoring.py [--images 250] [--captions 100] [--threads 1] [--page docs/results/esl-scoring.md]

The loop is what docs/esl.md says, read literally, as the published code goes about it: a caption at a time, repeated
for every image; level by level, its words through W_l and with all regions; then attention. Pyramids are made once for
both. Random tokens in the published sizes: 36 regions, 8 to 20 words, 512 dimensions, 9 levels. Times are processor
time, the best of the repeats; the gallery is scored in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import smoke
import torch
from results_page import commit, machine
from torch import Tensor

from itm.config.model import EmbeddingParameters
from itm.config.presets import compose
from itm.methods.build import build_loss, build_similarity
from itm.methods.method import Embedded, Method, Widths
from itm.methods.scoring import all_similarities
from itm.methods.scoring import concatenate as whole_of
from itm.methods.similarities.esl.pyramid import unit
from itm.methods.similarities.esl_global import EslGlobalSimilarity
from itm.methods.similarities.esl_token import EslTokenSimilarity
from itm.towers.base import Features

ROOT = Path(__file__).parents[1]
DIMENSION, REGIONS, WORDS = 512, 36, (8, 20)
EMBEDDING = EmbeddingParameters(dimension=DIMENSION, layers=1, hidden=DIMENSION, dropout=0.0)
WIDTHS = Widths(DIMENSION, DIMENSION, DIMENSION, DIMENSION)
METHOD = compose("coco-butd", root=ROOT).method
SAID: list[str] = []


def say(line: str) -> None:
    print(line, flush=True)
    SAID.append(line)


def similarity(entry: str) -> EslTokenSimilarity | EslGlobalSimilarity:
    """The similarity of an entry of `coco-butd` in the published size, with contributions that are not all the same."""
    torch.manual_seed(0)
    found = build_similarity(METHOD[entry].similarity, EMBEDDING, WIDTHS).eval()
    assert isinstance(found, EslTokenSimilarity | EslGlobalSimilarity)
    with torch.no_grad():
        found.correspondence.contribution.degrees.add_(0.01 * torch.randn(len(found.correspondence.matrices)))
    return found


def gallery(
    model: EslTokenSimilarity | EslGlobalSimilarity, images: int, captions: int, batch: int = 100
) -> tuple[list[Embedded], list[Embedded]]:
    """Random images and captions, embedded batch by batch."""
    generator = torch.Generator().manual_seed(1)

    def tokens(rows: int, width: int) -> Tensor:
        return torch.randn(rows, width, DIMENSION, generator=generator)

    whole = torch.ones(images, REGIONS, dtype=torch.bool)
    words = torch.arange(WORDS[1]) < torch.randint(WORDS[0], WORDS[1] + 1, (captions, 1), generator=generator)
    found = [
        [
            encode(Features(torch.randn(len(some), DIMENSION, generator=generator), tokens(*some.shape), some))
            for some in torch.split(mask, batch)
        ]
        for encode, mask in ((model.encode_image, whole), (model.encode_text, words))
    ]
    return found[0], found[1]


def loop_tokens(model: EslTokenSimilarity, images: Embedded, captions: Embedded) -> Tensor:
    """Scores (images, captions), one caption and one level after the other."""
    assert images.tokens is not None
    assert captions.tokens is not None
    assert captions.mask is not None
    forms = model.correspondence.matrices
    regions = torch.split(images.tokens, [form().shape[0] for form in forms], -1)
    columns = []
    for words, mask in zip(captions.tokens, captions.mask, strict=True):
        levels = model.text_pyramid(words[mask].repeat(len(images.tokens), 1, 1))
        weights = model.correspondence.contribution()
        scores = torch.zeros(len(images.tokens), int(mask.sum()), images.tokens.shape[1])
        for weight, level, form, region in zip(weights, levels, forms, regions, strict=True):
            scores = scores + weight * (level @ form()) @ region.transpose(1, 2)
        columns.append(loop_attention(scores, model) + loop_attention(scores.transpose(1, 2), model))
    return torch.stack(columns, 1)


def loop_attention(scores: Tensor, model: EslTokenSimilarity) -> Tensor:
    """What the tokens of the second axis find among those of the third; one caption, all images."""
    signal = torch.nn.functional.leaky_relu(scores.tanh(), 0.1)
    attention = (model.log_scale.exp() * unit(signal.transpose(1, 2)).transpose(1, 2)).softmax(2)
    return (attention * scores).sum(2).mean(1)


def loop_global(model: EslGlobalSimilarity, images: Embedded, captions: Embedded) -> Tensor:
    """Scores (images, captions), one caption and one level after the other."""
    left, right = (torch.split(each.embedding, model.sizes, -1) for each in (images, captions))
    columns = []
    for caption in range(len(captions.embedding)):
        weights = model.correspondence.contribution()
        scores = torch.zeros(len(images.embedding))
        for weight, x, y, form in zip(weights, left, right, model.correspondence.matrices, strict=True):
            repeated = y[caption].repeat(len(x), 1)
            scores = scores + weight * ((x @ form()) * repeated).sum(1)
        columns.append(scores)
    return torch.stack(columns, 1)


def timed(call: Callable[[], Tensor], repeat: int) -> tuple[float, Tensor]:
    """The least processor time of a call, and its result."""
    seconds = []
    for _ in range(repeat):
        began = time.process_time()
        found = call()
        seconds.append(time.process_time() - began)
    return min(seconds), found


def compare(name: str, pairs: str, ours: Callable[[], Tensor], loop: Callable[[], Tensor], repeat: int) -> None:
    first, found = timed(ours, repeat)
    second, expected = timed(loop, max(repeat // 2, 1))
    worst = float((found - expected).abs().max())
    say(f"{name:11} {pairs}: loop {second:8.3f} s, stacked {first:8.4f} s: {second / first:6.1f} times as fast")
    say(f"{'':11} largest difference {worst:.1e} of scores up to {float(expected.abs().max()):.2f}")
    if worst > 1e-5 * max(1.0, float(expected.abs().max())):
        raise SystemExit(f"{name}: the two disagree by {worst}")


def peak() -> float:
    """The largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def score_gallery(images: int, captions: int) -> dict[str, float]:
    model = similarity("esl-token")
    assert isinstance(model, EslTokenSimilarity)
    method = Method(model, build_loss(METHOD["esl-token"].loss), {}).eval()
    given = gallery(model, images, captions)
    before, began = peak(), time.process_time()
    found = all_similarities(method, *given)
    return {
        "seconds": time.process_time() - began,
        "before": before,
        "peak": peak(),
        "multiply_adds": found.multiply_adds,
        "finite": float(np.isfinite(found.values).all()),
    }


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--images", type=int, default=250)
    found.add_argument("--captions", type=int, default=100)
    found.add_argument("--repeat", type=int, default=4)
    found.add_argument("--gallery", type=int, nargs=2, default=(1000, 5000), metavar=("IMAGES", "CAPTIONS"))
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--page", type=Path, help="write the lines to this Markdown file as well")
    found.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    return found


def main() -> None:
    given = smoke.read(parser(), "--images 3 --captions 2 --repeat 1 --gallery 3 2 --page {scratch}/page.md")
    torch.set_num_threads(given.threads)
    with torch.no_grad():
        if given.job:
            print(json.dumps(score_gallery(*given.gallery)))
            return
        say(f"{given.threads} threads, torch {torch.__version__.split('+')[0]}")
        size = f"{given.images} images x {given.captions} captions"
        token, whole = similarity("esl-token"), similarity("esl-global")
        assert isinstance(token, EslTokenSimilarity)
        assert isinstance(whole, EslGlobalSimilarity)
        pairs = [whole_of(each) for each in gallery(token, given.images, given.captions)]
        compare("esl-token", size, lambda: token.score(*pairs), lambda: loop_tokens(token, *pairs), given.repeat)
        vectors = [whole_of(each) for each in gallery(whole, given.images, given.captions)]
        compare("esl-global", size, lambda: whole.score(*vectors), lambda: loop_global(whole, *vectors), given.repeat)
    job = [sys.executable, __file__, "--job", "--threads", str(given.threads), "--gallery", *map(str, given.gallery)]
    found = json.loads(subprocess.run(job, capture_output=True, text=True, check=True).stdout)
    images, captions = given.gallery
    say(
        f"gallery     {images} images x {captions} captions, all pairs: {found['seconds']:.0f} s, peak memory "
        f"{found['peak']:.0f} MiB ({found['before']:.0f} MiB with the embedded tokens, before a score)"
    )
    say(f"{'':11} {found['multiply_adds'] / 1e3:.0f} thousand multiply-adds a pair (esl-global: one thousand)")
    if given.page:
        command = " ".join(["python benchmarks/esl_scoring.py", *sys.argv[1:]])
        text = f"# ESL: scoring\n\nAt commit {commit()} on {machine()}, by `{command}`.\n\n"
        text += (
            "The loop takes a caption at a time, repeats it for every image and goes through the levels; the other\n"
            "stacks all levels and compares all words with all regions in one product (see [esl.md](../esl.md)).\n\n"
        )
        given.page.write_text(text + "```\n" + "\n".join(SAID) + "\n```\n", encoding="utf-8")


if __name__ == "__main__":
    main()
