"""Another CPU adds in another order: what docs/reproducing.md promises there, with the kernels of an older CPU.

The environment variables stand for another machine: they make PyTorch and oneDNN leave the vector instructions of
this one unused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from itm.metrics import DotProduct, Positives, hit_rates, rank_all
from itm.towers.scratch import ScratchTowers

ROOT = Path(__file__).parents[2]
OLDER_CPU = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}


def encode(path: Path) -> str:
    """Write the features of some images and captions; returns what the kernels are called that computed them."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = {"image_size": 64, "context_length": 32, "image_width": 24, "text_width": 128, "text_layers": 2}
    towers = ScratchTowers(["red", "circle", "a", "square"], **sizes, text_heads=4).eval()
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (300, 64, 64, 3), dtype=np.uint8))
    words = np.random.default_rng(1).integers(2, 7, (300, 12))
    ids = torch.from_numpy(np.concatenate([words, np.zeros((300, 20), np.int64)], 1))
    with torch.no_grad():
        image, text = towers.image(towers.preprocess(images)).pooled, towers.text(ids).pooled
    np.savez(path, image=image.numpy(), text=text.numpy())
    return torch.backends.cpu.get_cpu_capability()


def encode_elsewhere(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, __file__, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **OLDER_CPU},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as stored:
        return stored["image"], stored["text"]


@pytest.mark.slow
def test_the_same_model_gives_the_same_metrics_on_another_cpu(tmp_path: Path) -> None:
    here, there = encode(tmp_path / "here.npz"), encode_elsewhere(tmp_path / "there.npz")
    if here == there:
        pytest.skip(f"this CPU has no kernels beyond {here}")
    (image, text), (other_image, other_text) = read(tmp_path / "here.npz"), read(tmp_path / "there.npz")
    for one, other in ((image, other_image), (text, other_text)):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()
    # ranks of near ties may change places; the metrics that git keeps do not move by more than their last digits
    answers = Positives.from_owners(np.arange(300), 300)
    common = min(image.shape[1], text.shape[1])
    rates = []
    for left, right in ((image, text), (other_image, other_text)):
        (rows,), (columns,) = rank_all(DotProduct(left[:, :common], right[:, :common]), [answers[0]], [answers[1]])
        rates.append([*hit_rates(rows, (1, 5, 10)).values(), *hit_rates(columns, (1, 5, 10)).values()])
    assert np.abs(np.subtract(*rates))[:3].max() <= 2 / 300


if __name__ == "__main__":
    print(encode(Path(sys.argv[1])))
