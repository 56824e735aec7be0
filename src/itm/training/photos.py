"""Images that are decoded while training goes on, for splits that memory does not hold, and random crops of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from itm.data.images import ImageStore
from itm.data.loader import Augment, Loader, Resize, resize_with_pillow
from itm.training.batches import Rows

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Photos:
    """The images of a split as squares of `size` pixels, decoded when a batch needs them.

    Within an epoch that was announced by `start`, batches are decoded ahead by threads and cropped as `augment` says.
    Any other rows are decoded at once, as centre squares. Neither threads nor timing change a pixel.

    Args:
        store: where the images lie.
        rows: (images,) rows of the store, in the order of the split.
        size: side of the squares.
        augment: random crops; None = centre squares only.
        workers: threads that decode.
        pinned: batches lie in memory that a GPU can fetch from by itself.
    """

    def __init__(
        self, store: ImageStore, rows: Rows, size: int, augment: Augment | None, workers: int, pinned: bool = False
    ) -> None:
        self.store, self.rows, self.size = store, rows, size
        self.augment, self.workers, self.pinned = augment, workers, pinned
        self._coming: Iterator[tuple[Rows, Pixels]] | None = None
        self._places: dict[int, int] = {}
        self._pixels: Pixels = np.empty((0, size, size, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.rows)

    def start(self, epoch: int, batches: Iterable[Rows]) -> None:
        """Announce the batches of an epoch: `read` will ask for each, whole or piece by piece, in this order."""
        self._places = {}
        self._coming = iter(self._loader((self.rows[batch] for batch in batches), epoch, self.augment))

    def read(self, rows: Rows) -> Pixels:
        """The pixels (rows, size, size, 3) of rows of the split."""
        wanted = self.rows[rows].tolist()
        if not self._holds(wanted) and self._coming is not None:
            found = next(self._coming, None)
            if found is None:
                self._coming = None
            else:
                self._places = {row: place for place, row in enumerate(found[0].tolist())}
                self._pixels = found[1]
        if self._holds(wanted):
            places = [self._places[row] for row in wanted]
            # most batches are asked for as they come: no copy then
            return self._pixels if places == list(range(len(self._pixels))) else self._pixels[places]
        (_, pixels), *_ = self._loader([self.rows[rows]], 0, None)
        return pixels

    def _holds(self, wanted: list[int]) -> bool:
        return all(row in self._places for row in wanted)

    def _loader(self, batches: Iterable[Rows], epoch: int, augment: Augment | None) -> Loader:
        allocate = _pinned if self.pinned else None
        return Loader(
            self.store,
            batches,
            self.size,
            augment=augment,
            epoch=epoch,
            workers=self.workers,
            allocate=allocate,
            resize=fastest(),
        )


def _pinned(shape: tuple[int, ...]) -> Pixels:
    pixels: Pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return pixels


_VECTOR_CODE = ("AVX2", "AVX512")


def fastest() -> Resize:
    """The fastest resize of this CPU: `resize`, or Pillow's where PyTorch has no vector code for it."""
    return resize if torch.backends.cpu.get_cpu_capability() in _VECTOR_CODE else resize_with_pillow


def resize(crop: Pixels, square: Pixels) -> None:
    """Write a crop (height, width, 3) uint8 into `square` (size, size, 3): bilinear, antialiased.

    The filter of Pillow's BILINEAR: a triangle as wide as the crop shrinks, so that every pixel counts. Both round to
    whole numbers after each of two passes; each stays within 1.01 of the exact value (tested).
    """
    source = _channels_first(torch.from_numpy(crop if crop.flags.writeable else crop.copy()))
    target = _channels_first(torch.from_numpy(square))
    torch.ops.aten._upsample_bilinear2d_aa.out(source, list(square.shape[:2]), False, None, None, out=target)


def _channels_first(pixels: torch.Tensor) -> torch.Tensor:
    """A view; the op is fastest where channels lie side by side in memory."""
    return pixels.permute(2, 0, 1)[None]
