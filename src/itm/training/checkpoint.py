"""Resume state: written after each epoch beside the pipeline, keyed by everything that decides the result."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from itm.data.files import atomic_path

FOLDER = Path(".itm/checkpoints")


def key(facts: dict[str, Any]) -> str:
    """A short hash of the facts that decide a training run (parameters, data hashes, seed).

    >>> key({"a": 1}) == key({"a": 1}) and key({"a": 1}) != key({"a": 2})
    True
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]


class Checkpoint:
    """The last complete epoch of one run. The folder is no output of the pipeline: runners delete declared
    outputs of a stage that failed, and with them any hope to resume."""

    def __init__(self, run_key: str, folder: Path = FOLDER) -> None:
        self.path = folder / run_key / "state.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state as a whole."""
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The saved state, or None when there is none or it cannot be read."""
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        except Exception:  # a damaged state costs time only: training then starts from the beginning
            return None
        return state

    def delete(self) -> None:
        """Remove the state once the run's outputs are in place."""
        shutil.rmtree(self.path.parent, ignore_errors=True)


def random_state(device: torch.device) -> list[torch.Tensor]:
    """The states of torch's random numbers: of the CPU and, on a GPU, of that GPU."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(state: list[torch.Tensor], device: torch.device) -> None:
    """Go on with random numbers from a kept state."""
    torch.set_rng_state(state[0].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1].cpu(), device)
