"""Crops resized by PyTorch: the exact filter within rounding, Pillow's filter within rounding, and nothing beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itm.data.loader import resize_with_pillow
from itm.training.photos import fastest, resize


def triangle(length: int, size: int) -> np.ndarray:
    """(size, length) weights of the antialiased bilinear filter, in float64."""
    scale = length / size
    width = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(length) + 0.5 - centres[:, None]) / width)
    return weights / weights.sum(axis=1, keepdims=True)


def exact(crop: np.ndarray, size: int) -> np.ndarray:
    down, across = triangle(crop.shape[0], size), triangle(crop.shape[1], size)
    return np.einsum("ih,hwc,jw->ijc", down, crop.astype(float), across, optimize=True)


@pytest.mark.parametrize("size", [1, 7, 8, 17, 32, 224])
def test_within_rounding_of_the_exact_filter_and_of_pillow(size):
    rng = np.random.default_rng(size)
    for height, width in [(1, 1), (5, 90), (size, size), (300, 280), (33, 2), *rng.integers(2, 120, (20, 2))]:
        crop = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found, pillow = np.empty((2, size, size, 3), np.uint8)
        resize(crop, found)
        resize_with_pillow(crop, pillow)
        expected = exact(crop, size)
        assert np.abs(found - expected).max() <= 1.01
        assert np.abs(pillow - expected).max() <= 1.01
        assert np.abs(found.astype(int) - pillow).max() <= 1


def test_whole_numbers_that_need_no_rounding_are_kept():
    crop = np.full((90, 130, 3), [10, 200, 255], np.uint8)
    square = np.zeros((32, 32, 3), np.uint8)
    resize(crop, square)
    assert (square == [10, 200, 255]).all()


def test_views_and_read_only_crops():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    view = photo[7:50, 11:63]
    one, other, third = np.empty((3, 16, 16, 3), np.uint8)
    resize(view, one)
    resize(view.copy(), other)
    photo.setflags(write=False)
    resize(photo[7:50, 11:63], third)
    assert (one == other).all()
    assert (one == third).all()


def test_only_its_square_of_the_batch_is_written():
    """Threads fill neighbouring squares at the same time."""
    rng = np.random.default_rng(0)
    for size in (8, 17, 224):
        batch = np.full((3, size, size, 3), 99, np.uint8)
        resize(rng.integers(0, 90, (50, 70, 3), dtype=np.uint8), batch[1])
        assert (batch[[0, 2]] == 99).all()
        assert (batch[1] < 90).all()


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("AVX512", resize), ("AVX2", resize), ("DEFAULT", resize_with_pillow), ("NEON", resize_with_pillow)],
)
def test_pillow_where_pytorch_has_no_vector_code(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert fastest() is expected
