"""A trained model, opened: photos and texts go in, embeddings and similarities come out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from itm.data.decode import Pixels, fit, read_photo, square
from itm.errors import DataError, ModelError
from itm.grading.files import Grade, grade_of
from itm.grading.texts import describe
from itm.methods.method import Embedded
from itm.methods.saved import load_model
from itm.methods.scoring import all_similarities
from itm.towers.word_ids import word_ids
from itm.vectors.pipeline import model_hash

if TYPE_CHECKING:
    from PIL.Image import Image

Photo = Union[str, Path, bytes, NDArray[np.uint8], "Image"]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded images or texts, in the order given.

    vectors: (n, width) float32, whose inner product is the similarity of a "dot" model; of a "pairwise" one they only
    stand in. They need not have unit length.
    """

    vectors: Floats
    batches: tuple[Embedded, ...]
    texts: tuple[str, ...] = ()
    """The texts themselves; what a grade needs beside their vectors."""

    def __len__(self) -> int:
        return len(self.vectors)


class Model:
    """A model folder, opened.

    Attributes:
        card: what model.json says: method, parameters, towers, training.
        name: its method and seed, as "ditm, seed 0".
        kind: "dot" or "pairwise".
        hash: SHA-256 over card and weights; vectors of one hash can be compared.

    Raises:
        DataError: a file is missing.
        ModelError: the weights do not fit the card, the towers that can be built here differ from those of training, or
            the files changed while they were read; or the backend cannot compute these towers.
        ConfigError: there is no such backend.
    """

    def __init__(self, folder: str | Path, device: str = "cpu", batch_size: int = 16, backend: str = "torch") -> None:
        self.hash = _hash(Path(folder))
        method, towers, self.card = load_model(folder, backend=backend)
        if _hash(Path(folder)) != self.hash:
            raise ModelError(
                f"{folder}: written anew while it was read (a training has ended?); run the command again",
                reason="changing",
            )
        self.folder = Path(folder)
        assert towers is not None
        self.device, self.batch_size = torch.device(device), batch_size
        self.method, self.towers = method.to(self.device), towers.to(self.device)
        self.name, self.kind = f"{self.card['name']}, seed {self.card['seed']}", method.kind
        if "descriptions" in method.added:
            log.warning("%s adds descriptions; photos and texts are encoded here without any", folder)

    def encode_images(self, photos: Sequence[Photo]) -> Encoded:
        """Encoded photos: each a path, a file's bytes, Pillow's image, or pixels (height, width, 3) uint8. The centre
        square counts.

        Raises:
            DataError: a photo cannot be decoded, or pixels have another shape; the message says which.
        """

        def run(batch: Sequence[Photo], start: int) -> Embedded:
            size = self.towers.image_size
            pixels = np.stack([_square(photo, start + row, size) for row, photo in enumerate(batch)])
            return self.method.encode_image(
                self.towers.image(self.towers.preprocess(torch.from_numpy(pixels).to(self.device)))
            )

        return self._encode(photos, run, self.method.index_image)

    def encode_texts(self, texts: Sequence[str]) -> Encoded:
        """Texts encoded; a text longer than the text tower's context is cut."""

        def run(batch: Sequence[str], start: int) -> Embedded:
            ids = torch.from_numpy(self.towers.tokenize(list(batch)))
            features = self.towers.text(ids.to(self.device))
            if self.method.words is not None:
                own = word_ids(self.method.words.options, list(batch))
                features.inputs = torch.from_numpy(own.rows(np.arange(len(batch)))).to(self.device)
            return self.method.encode_text(features)

        found = self._encode(texts, run, self.method.index_text)
        return Encoded(found.vectors, found.batches, tuple(texts))

    def encode_image(self, photos: Sequence[Photo]) -> Floats:
        """The vectors (n, width) of photos as `encode_images` takes them; their dot products are the similarities.

        Raises:
            ModelError: the model scores pairs, and has no vectors ("no-index"). DataError: as `encode_images`.
        """
        self._need_vectors()
        return self.encode_images(photos).vectors

    def encode_text(self, texts: Sequence[str]) -> Floats:
        """The vectors (n, width) of texts.

        Raises:
            ModelError: as `encode_image`.
        """
        self._need_vectors()
        return self.text_vectors(texts)

    def _need_vectors(self) -> None:
        if self.kind != "dot":
            raise ModelError(
                f"{self.folder}: scores pairs of an image and a text together ({self.card['name']}), so it has no "
                'vectors that could be searched or compared; take a model whose similarity is "dot"',
                reason="no-index",
            )

    def text_vectors(self, texts: Sequence[str]) -> Floats:
        """The vectors (n, width) of many texts, encoded in batches of similar length: little time goes into padding."""
        if isinstance(texts, str) or not texts:  # a single text is refused there; some tokenizers fail on none
            return self.encode_texts(texts).vectors
        order = np.argsort((self.towers.token_ids(texts) != 0).sum(1), kind="stable")
        found = self.encode_texts([texts[row] for row in order]).vectors
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def similarity(self, images: Encoded, texts: Encoded) -> Floats:
        """Similarities (images, texts) float32: the higher, the better the match."""
        if self.kind == "dot":
            return images.vectors @ texts.vectors.T
        return all_similarities(self.method, images.batches, texts.batches).values

    def probability(self, images: Encoded, texts: Encoded) -> Doubles:
        """The probability that each text is true of each image (images, texts), 0..1; docs/grade.md.

        Raises:
            ModelError: the model's folder has no grade, or another model's; there are no images, or no encoded texts.
        """
        return np.exp(self.grade(images, texts))

    def grade(self, images: Encoded, texts: Encoded, specificity: float = 0.0) -> Doubles:
        """log probability - specificity x log prior (images, texts): 0 asks what is true, 1 what says most.

        Raises:
            ModelError: as `probability`.
        """
        if not len(images) or not texts.texts or len(texts.texts) != len(texts):
            raise ModelError("grades are of images and texts: give what encode_images and encode_texts returned")
        calibrator, idf = self._grade
        return calibrator.grade(self.similarity(images, texts), describe(list(texts.texts), idf), specificity)

    @cached_property
    def _grade(self) -> Grade:
        return grade_of(Path(self.folder), self.hash)

    @torch.inference_mode()
    def _encode(
        self, items: Sequence[Any], run: Callable[[Any, int], Embedded], index: Callable[[Embedded], Tensor]
    ) -> Encoded:
        if isinstance(items, str | bytes | Path):
            raise ModelError(f"expected a list, found a single {type(items).__name__}; write [{items!r:.40}]")
        parts: list[Floats] = []
        kept: list[Embedded] = []
        for start in range(0, len(items), self.batch_size):
            batch = run(items[start : start + self.batch_size], start)
            parts.append(index(batch).float().cpu().numpy())
            if self.kind == "pairwise":
                kept.append(batch)
        return Encoded(np.concatenate(parts) if parts else np.zeros((0, 0), np.float32), tuple(kept))


def open_searchable(folder: Path, threads: int = 1, device: str = "cpu", backend: str = "torch") -> Model:
    """A model whose vectors can be searched; torch, or the backend, computes with so many threads from here on.

    Raises:
        ModelError: the model scores pairs and has no vectors ("no-index"), or as `Model`.
        DataError: a file is missing.
    """
    torch.set_num_threads(threads)
    model = Model(folder, device, backend=backend)
    model._need_vectors()
    return model


def _hash(folder: Path) -> str:
    """`model_hash`; '' where a file is missing, which its reader says."""
    try:
        return model_hash(folder)
    except OSError:
        return ""


def _square(photo: Photo, row: int, size: int) -> Pixels:
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise DataError(
                f"image {row}: pixels of shape {photo.shape}, {photo.dtype}; expected (height, width, 3) uint8",
                reason="pixels",
            )
        return fit(photo, size)
    if hasattr(photo, "convert"):  # Pillow's
        return fit(np.asarray(photo.convert("RGB")), size)
    name = f"image {row}" if isinstance(photo, bytes) else str(photo)
    try:
        return square(photo if isinstance(photo, bytes) else read_photo(Path(photo)), size)
    except DataError as error:
        raise DataError(f"{name}: {error}", reason=error.reason) from None
