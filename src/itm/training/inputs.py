"""The model inputs of a split: cached tower features, or pixels and token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm.errors import TrainingError
from itm.features import TokenRows
from itm.methods.method import Embedded, Method
from itm.towers.base import Features, Towers, wide_ids
from itm.towers.word_ids import WordIds
from itm.training.batches import Rows
from itm.training.photos import Photos


@dataclass
class Raw:
    """Raw inputs of a tower, with vectors of their descriptions."""

    values: Tensor
    description_vectors: dict[str, Tensor]


@dataclass
class Inputs:
    """Images or texts as rows. Either `features` (rows, width) float32 from frozen towers, and their `tokens` if a
    method needs them; row i of the inputs has those of row `token_rows[i]`. Or `raw`: pixels (rows, size, size, 3)
    uint8 for images, token ids (rows, context length) for texts (`small_ids`); or `photos`, decoded batch by batch.
    `description_vectors`: (rows, width) of the "description" or "caption"; `redraw` gives them anew for an epoch.
    `words`: token ids for the addition `words`.
    """

    features: Tensor | None = None
    raw: np.ndarray[Any, Any] | None = None
    photos: Photos | None = None
    tokens: TokenRows | None = None
    token_rows: Rows | None = None
    description_vectors: dict[str, Tensor] = field(default_factory=dict)
    redraw: Callable[[int], dict[str, Tensor]] | None = None
    words: WordIds | None = None

    def __len__(self) -> int:
        return len(next(rows for rows in (self.features, self.raw, self.photos) if rows is not None))

    def start(self, epoch: int, batches: Iterable[Rows]) -> None:
        """Announce the rows of an epoch's batches: photos are decoded ahead, and description vectors drawn."""
        if self.redraw is not None:
            self.description_vectors = self.redraw(epoch)
        if self.photos is not None:
            self.photos.start(epoch, batches)
        if self.words is not None:
            self.words.epoch = epoch

    def batch(self, rows: np.ndarray[Any, Any], device: torch.device) -> Features | Tensor | Raw:
        """The rows as features, or as raw inputs that a tower must see first; with description vectors if there are."""
        found = self._batch(rows, device)
        if self.words is not None and isinstance(found, Features):
            found.inputs = torch.from_numpy(self.words.rows(rows)).to(device)
        if not self.description_vectors:
            return found
        vectors = {name: values[torch.from_numpy(rows)].to(device) for name, values in self.description_vectors.items()}
        if isinstance(found, Features):
            found.description_vectors = vectors
            return found
        return Raw(found, vectors)

    def _batch(self, rows: np.ndarray[Any, Any], device: torch.device) -> Features | Tensor:
        if self.features is not None:
            pooled = self.features[torch.from_numpy(rows)]
            if self.tokens is None or self.token_rows is None:
                return Features(pooled.to(device))
            tokens, mask = self.tokens.padded(self.token_rows[rows])
            return Features(pooled, torch.from_numpy(tokens).to(pooled.dtype), torch.from_numpy(mask)).to(device)
        if self.photos is not None:
            return torch.from_numpy(self.photos.read(rows)).to(device, non_blocking=True)
        assert self.raw is not None
        values = self.raw[rows]
        return (torch.from_numpy(values) if values.dtype == np.uint8 else wide_ids(values)).to(device)


@dataclass
class Split:
    """Images and captions of one split. owner: (captions,) image row. root: the empty caption, one row."""

    images: Inputs
    texts: Inputs
    owner: Rows
    root: Inputs


class Encoder:
    """Method and towers together: rows of inputs to embeddings.

    `compiled` hands both encoders to torch.compile, which takes its time at the first batch of each shape.

    Raises:
        TrainingError: float16 without a GPU (reason "precision").
    """

    def __init__(
        self,
        method: Method,
        towers: Towers | None,
        device: torch.device,
        precision: str = "float32",
        compiled: bool = False,
    ) -> None:
        if precision == "float16" and device.type != "cuda":
            raise TrainingError(
                "train.precision: float16 needs a CUDA device, and this run has none; use bfloat16 or float32",
                reason="precision",
            )
        self.method, self.towers, self.device = method, towers, device
        self.type = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
        self._images, self._texts = self._encode_images, self._encode_texts
        if compiled:
            self._images, self._texts = torch.compile(self._encode_images), torch.compile(self._encode_texts)

    def images(self, batch: Features | Tensor | Raw) -> Embedded:
        """Embedded images of a batch."""
        with torch.autocast(self.device.type, self.type or torch.bfloat16, enabled=self.type is not None):
            return self._images(batch)

    def texts(self, batch: Features | Tensor | Raw) -> Embedded:
        """Embedded texts of a batch."""
        with torch.autocast(self.device.type, self.type or torch.bfloat16, enabled=self.type is not None):
            return self._texts(batch)

    def _encode_images(self, batch: Features | Tensor | Raw) -> Embedded:
        if not isinstance(batch, Features):
            assert self.towers is not None
            values, vectors = (batch.values, batch.description_vectors) if isinstance(batch, Raw) else (batch, {})
            prepared = self.towers.preprocess(values)
            batch = self.towers.image(prepared)
            batch.description_vectors, batch.inputs = vectors, prepared
        return self.method.encode_image(batch)

    def _encode_texts(self, batch: Features | Tensor | Raw) -> Embedded:
        if not isinstance(batch, Features):
            assert self.towers is not None
            values, vectors = (batch.values, batch.description_vectors) if isinstance(batch, Raw) else (batch, {})
            batch = self.towers.text(values)
            batch.description_vectors, batch.inputs = vectors, values
        return self.method.encode_text(batch)

    def train(self, mode: bool = True) -> None:
        """Switch dropout and batch norms of the trained parts."""
        self.method.train(mode)
        if self.towers is not None:
            self.towers.train(mode)

    @torch.no_grad()
    def batches(self, inputs: Inputs, kind: str, batch_size: int, rows: Rows | None = None) -> list[Embedded]:
        """All rows, or some, embedded in evaluation mode, batch by batch; `kind`: "image", "text"."""
        self.train(False)
        encode = self.images if kind == "image" else self.texts
        rows = np.arange(len(inputs)) if rows is None else rows
        return [
            encode(inputs.batch(rows[start : start + batch_size], self.device))
            for start in range(0, len(rows), batch_size)
        ]

    @torch.no_grad()
    def index(
        self, inputs: Inputs, kind: str, batch_size: int, rows: Rows | None = None
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Index vectors (rows, width) float32 of all rows, or of some, in evaluation mode; `kind`: "image", "text"."""
        self.train(False)
        encode, index = (
            (self.images, self.method.index_image) if kind == "image" else (self.texts, self.method.index_text)
        )
        rows = np.arange(len(inputs)) if rows is None else rows
        parts = [
            index(encode(inputs.batch(rows[start : start + batch_size], self.device))).float().cpu()
            for start in range(0, len(rows), batch_size)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)
