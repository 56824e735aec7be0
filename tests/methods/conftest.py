"""Small batches that every method is tested on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from itm.config import load
from itm.methods.build import build_method
from itm.methods.interface import Context, Embedded, Labels, Method
from itm.towers.base import Features

ROOT = Path(__file__).parents[2]
PARAMETERS = load(ROOT / "params.yaml")
IMAGES, CAPTIONS_EACH, IMAGE_WIDTH, TEXT_WIDTH = 6, 2, 10, 7


@pytest.fixture(params=sorted(PARAMETERS.method))
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    return build_method(PARAMETERS.method[request.param], PARAMETERS.embedding, IMAGE_WIDTH, TEXT_WIDTH)


def features(rows: int, width: int, seed: int) -> Features:
    return Features(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)))


def labels(owner: torch.Tensor | None = None, images: int = IMAGES) -> Labels:
    generator = torch.Generator().manual_seed(3)
    if owner is None:
        owner = torch.arange(images).repeat_interleave(CAPTIONS_EACH)
    texts = len(owner)
    return Labels(
        positives=owner.unsqueeze(0) == torch.arange(images).unsqueeze(1),
        owner=owner,
        score=torch.rand(texts, generator=generator),
        image_score=torch.rand(images, generator=generator),
        containment=torch.rand(images, texts, generator=generator),
    )


def step(method: Method, epoch: int = 50) -> tuple[Embedded, Embedded, Context]:
    images = method.encode_image(features(IMAGES, IMAGE_WIDTH, 1))
    texts = method.encode_text(features(IMAGES * CAPTIONS_EACH, TEXT_WIDTH, 2))
    return images, texts, Context(epoch=epoch, root=method.encode_text(features(1, TEXT_WIDTH, 5)))
