"""A space that images and texts share without any trained method: a linear map from image features to text vectors.

The map is ridge regression from what is known of an image to the mean vector of its captions, fitted on training
images. A training image gets its place from a map that was fitted without it and without its copies (folds), so that
training and evaluation images are placed equally well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.config.describe import DescribeParameters
from itm.data.images import ImageStore
from itm.data.layout import IMAGE_FEATURES
from itm.errors import DataError
from itm.features import read_features

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float32]
Report = Callable[[int, int], None]
_CELLS = 8


def image_features(
    parameters: DescribeParameters,
    clean: Path,
    features: Path,
    images: pd.DataFrame,
    size: int,
    device: str,
    progress: Report | None = None,
) -> Floats:
    """What is known of every image (rows of images.parquet, width) float32, of the kind `describe.space`.

    Args:
        size: side in pixels at which the images are seen.

    Raises:
        DataError: space "towers" without cached features of frozen towers.
    """
    if parameters.space == "towers":
        found = read_features(features / IMAGE_FEATURES)
        if found is None:
            raise DataError(
                "describe.space: 'towers' needs the cached features of frozen towers, and these are trained; "
                "set it to 'offline' or 'pixels'",
                reason="no-features",
            )
        return found.pooled
    store = ImageStore(clean, images)
    compute = _grid_colours if parameters.space == "pixels" else _Lite0(device)
    parts = []
    for start in range(0, len(images), 128):
        rows = np.arange(start, min(start + 128, len(images)))
        parts.append(compute(store.arrays(rows, size)))
        if progress:
            progress(int(rows[-1]) + 1, len(images))
    return np.concatenate(parts)


def _grid_colours(pixels: NDArray[np.uint8]) -> Floats:
    """The mean colour of each cell of a grid."""
    edges = np.linspace(0, pixels.shape[1], _CELLS + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float32), edges, axis=1), edges, axis=2)
    mean: Floats = (sums.reshape(len(pixels), -1) / (255 * (pixels.shape[1] / _CELLS) ** 2)).astype(np.float32)
    return mean


class _Lite0:
    """The mean of EfficientNet-Lite0's last map."""

    def __init__(self, device: str) -> None:
        import torch

        from itm.towers.offline import OfflineTowers, load_lite0

        self._model = load_lite0().to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._prepare, self._device = OfflineTowers.preprocess, device

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        import torch

        with torch.inference_mode():
            inputs = self._prepare(None, torch.from_numpy(pixels).to(self._device))  # type: ignore[arg-type]
            grid = self._model.forward_features(inputs.contiguous(memory_format=torch.channels_last))
            found: Floats = grid.mean((2, 3)).float().cpu().numpy()
        return found


def fold_of(contents: NDArray[Any], folds: int) -> NDArray[np.int64]:
    """The fold of each image, by its content: copies share one, and it depends on no other image.

    >>> a, b, again = fold_of(np.array(["aa", "bb", "aa"]), 5).tolist()
    >>> a == again
    True
    """
    return np.array([int(hashlib.sha256(str(name).encode()).hexdigest()[:8], 16) % folds for name in contents])


@dataclass(frozen=True)
class LinearMap:
    """From features to places, as far as W = (Z'Z / n + ridge I)^-1 Z'(Y - mean Y) / n, Z the standardised features."""

    mean: Floats
    deviation: Floats
    weights: NDArray[np.float64]

    def __call__(self, features: Floats) -> NDArray[np.float64]:
        """The places Z W (rows, target width), so that 0 is the mean target."""
        places: NDArray[np.float64] = ((features - self.mean) / self.deviation) @ self.weights
        return places


def fitted_maps(
    features: Floats, targets: Floats | csr_array, train: NDArray[np.bool_], fold: NDArray[np.int64], ridge: float
) -> Iterator[tuple[NDArray[np.int64], LinearMap]]:
    """The rows that each map places, every row once, and the map, which was fitted without them.

    Images that are not of the training split are placed by the map of all training images. Memory: about five times
    the features; of sparse targets, no matrix of images x target width is made.

    Args:
        features: (images, width) float.
        targets: (images, target width) float, dense or sparse; only training rows are read.
        train: (images,) bool.
        fold: (images,) int64; a training image is placed by the images of the other folds.

    Raises:
        DataError: the training images are too few to leave any fold out.
    """
    for left_out in [-1, *np.unique(fold[train]).tolist()]:
        fitted = train & (fold != left_out)
        placed = np.flatnonzero(~train if left_out == -1 else train & (fold == left_out))
        if not len(placed):
            continue
        if fitted.sum() < 2:
            raise DataError(
                f"describe.folds: {int(train.sum())} training images leave {int(fitted.sum())} to fit on without "
                f"fold {left_out}; use more images or another number of folds",
                reason="too-few",
            )
        mean, deviation = features[fitted].mean(0), features[fitted].std(0) + 1e-6
        rows = ((features[fitted] - mean) / deviation).astype(np.float64)
        gram = rows.T @ rows / len(rows)
        gram[np.diag_indices_from(gram)] += ridge
        yield placed, LinearMap(mean, deviation, np.linalg.solve(gram, _products(rows, targets[fitted]) / len(rows)))


def _products(rows: NDArray[np.float64], goal: Floats | csr_array) -> NDArray[np.float64]:
    """Z'(Y - mean Y)."""
    if isinstance(goal, np.ndarray):
        wide = goal.astype(np.float64)
        found: NDArray[np.float64] = rows.T @ (wide - wide.mean(0))
        return found
    mean = np.asarray(goal.sum(0, dtype=np.float64)) / len(rows)
    return np.asarray((goal.T.astype(np.float64) @ rows).T) - np.outer(rows.sum(0), mean)


def place_images(
    features: Floats, targets: Floats, train: NDArray[np.bool_], fold: NDArray[np.int64], ridge: float
) -> Floats:
    """Every image's place among the targets (images, target width); arguments and errors as `fitted_maps`."""
    result = np.zeros((len(features), targets.shape[1]), np.float32)
    for rows, place in fitted_maps(features, targets, train, fold, ridge):
        result[rows] = place(features[rows])
    return result
