"""A trained model as a function from photos and texts to index vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from itm.data.layout import MODEL_CARD, MODEL_WEIGHTS
from itm.errors import ModelError
from itm.features import text_batches
from itm.methods.saved import load_model
from itm.towers.base import Features

Floats = NDArray[np.float32]
_BATCH = 64


class Embedder:
    """A model with its towers.

    Attributes:
        folder: where the model lies.
        name: its method and seed, as "ditm, seed 0".
        hash: SHA-256 over the weights and the card; vectors of one hash can be compared.
        image_size: side in pixels of the squares that `images` takes.
        dimension: length of the vectors.

    Raises:
        ModelError: the model scores pairs and has no vectors ("no-index"), or cannot be read.
        DataError: a file is missing.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        method, towers, card = load_model(folder)
        if method.kind != "dot":
            raise ModelError(
                f"{folder}: scores pairs of an image and a text together ({card['name']}), so it has no vectors that "
                'could be searched; take a model whose similarity is "dot"',
                reason="no-index",
            )
        assert towers is not None
        self.folder, self.similarity = folder, method.kind
        self.name = f"{card['name']}, seed {card['seed']}"
        self.hash = model_hash(folder)
        self.image_size = towers.image_size
        self._method, self._towers = method, towers
        self.dimension = self.texts([""]).shape[1]

    def images(self, pixels: NDArray[np.uint8]) -> Floats:
        """Vectors (n, D) of images (n, size, size, 3)."""

        def run(batch: NDArray[np.uint8]) -> torch.Tensor:
            prepared = self._towers.preprocess(torch.from_numpy(np.require(batch, requirements="W")))
            return self._method.index_image(self._method.encode_image(self._towers.image(prepared)))

        return self._batches(run, [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)])

    def texts(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Floats:
        """Vectors (n, D) of texts; a long text is cut at the towers' context length."""
        ids = self._towers.tokenize(texts)
        rows = list(text_batches((ids != 0).sum(1), _BATCH))

        def run(batch: Any) -> torch.Tensor:
            features: Features = self._towers.text(torch.from_numpy(ids[batch]))
            return self._method.index_text(self._method.encode_text(features))

        found = self._batches(run, rows, progress)
        result = np.empty_like(found)
        if rows:
            result[np.concatenate(rows)] = found
        return result

    def _batches(
        self,
        run: Callable[[Any], torch.Tensor],
        batches: Sequence[Any],
        progress: Callable[[int, int], None] | None = None,
    ) -> Floats:
        parts: list[Floats] = []
        total = sum(map(len, batches))
        with torch.inference_mode():
            for batch in batches:
                parts.append(run(batch).float().cpu().numpy())
                if progress:
                    progress(sum(map(len, parts)), total)
        return np.concatenate(parts) if parts else np.zeros((0, getattr(self, "dimension", 0)), np.float32)


def model_hash(folder: Path) -> str:
    """SHA-256 over the card and the weights of a saved model."""
    digest = hashlib.sha256()
    for name in (MODEL_CARD, MODEL_WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
