"""Products of embeddings on a GPU, for scorers that compute in float64 whatever float32 leaves open."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from itm.errors import MetricError, TrainingError, size_text
from itm.metrics.scorer import DotProduct, Floats, Multiply, multiply
from itm.pipeline.devices import device

log = logging.getLogger(__name__)


@contextmanager
def products(requested: str) -> Iterator[Multiply]:
    """What a stage multiplies embeddings with: torch on a GPU that is free now if `cuda` is asked for, else numpy.

    No job waits for a GPU, and `auto` takes none: figures are the same to the last digit, and torch needs longer to
    start than most splits to be ranked.
    """
    with ExitStack() as held:
        name = "cpu"
        if requested == "cuda":
            try:
                name = held.enter_context(device(requested, wait=0))
            except TrainingError as error:
                log.info("embeddings are multiplied on the CPU: %s", error)
        yield multiply if name == "cpu" else DeviceProducts(name)


class DeviceProducts:
    """Float32 products by torch on a device, in place of `itm.metrics.scorer.multiply`.

    An array is copied to the device when it is first met, and stays there as long as it lives here.

    Raises:
        MetricError: torch does not know the device (reason "no-device"), the arrays do not fit into its memory
            ("device-memory"), or it computes with fewer digits than float32 has ("device-digits").
    """

    def __init__(self, name: str) -> None:
        self._name, self._lock, self._held = name, threading.Lock(), dict[int, Any]()
        # the last digit that float32 has and TF32 has not
        probe = np.full((256, 64), 1 + 2.0**-12, np.float32)
        found = self(probe, probe, slice(None), slice(None))
        if (abs(found - 64 * (1 + 2.0**-12) ** 2) > DotProduct(probe).error(np.float32)[0][0]).any():
            raise MetricError(
                f"device: '{name}' multiplies with fewer digits than float32 has; unset NVIDIA_TF32_OVERRIDE and "
                "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, or compute on the CPU (device: cpu)",
                reason="device-digits",
            )

    def __call__(self, left: Floats, right: Floats, rows: slice, columns: slice) -> Floats:
        """[rows, columns] products."""
        import torch

        try:
            with self._lock:
                first, second = self._there(left), self._there(right)
            found: Floats = (first[rows] @ second[columns].T).cpu().numpy()
        except torch.OutOfMemoryError:
            raise MetricError(
                f"device: {size_text(left.nbytes + right.nbytes)} of embeddings and their products do not fit into the "
                f"memory of '{self._name}'; compute on the CPU (device: cpu)",
                reason="device-memory",
            ) from None
        return found

    def _there(self, values: Floats) -> Any:
        import torch

        key = id(values)
        if key not in self._held:
            try:
                self._held[key] = torch.tensor(values, device=self._name)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, AssertionError) as error:  # torch's words for no driver, no GPU, built without
                raise MetricError(
                    f"device: torch cannot compute on '{self._name}' ({str(error).splitlines()[0]:.200}); compute on "
                    "the CPU (device: cpu)",
                    reason="no-device",
                ) from None
            weakref.finalize(values, self._held.pop, key, None).atexit = False
        return self._held[key]
