"""Numbers that the authors' code gave on small fixed inputs (numbers/README.md says how they were made)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from presets import preset
from safetensors.torch import load_file
from torch import Tensor, nn

from itm.config.model import EmbeddingParameters
from itm.methods.build import build_similarity
from itm.methods.method import Similarity, Widths

NUMBERS = Path(__file__).parent / "numbers"


class Reference:
    """One file: its tensors in float64, weights that are kept as factors multiplied out, and what came of a run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values = {key: _double(value) for key, value in load_file(NUMBERS / f"{name}.safetensors").items()}
        factors = {key.removeprefix("factor.").rsplit(".", 1)[0] for key in self.values if key.startswith("factor.")}
        for weight in factors:
            left, right = self.values[f"factor.{weight}.left"], self.values[f"factor.{weight}.right"]
            product = left @ right
            if f"factor.{weight}.diagonal" in self.values:
                product = product + self.values[f"factor.{weight}.diagonal"] * torch.eye(*product.shape)
            self.values[f"weight.{weight}"] = product

    def __getitem__(self, key: str) -> Tensor:
        return self.values[key]

    def weights(self) -> dict[str, Tensor]:
        """The authors' parameters and buffers; of the similarity's parts without what all their names begin with."""
        found = {key.removeprefix("weight."): value for key, value in self.values.items() if key.startswith("weight.")}
        for start in ("sim_vec.", "pool_frames.cross_attn."):
            found = {key.removeprefix(start): value for key, value in found.items()}
        return found

    def mask(self, key: str, positions: int) -> Tensor:
        """Which places are real (rows, positions) by the lengths under a key."""
        return torch.arange(positions) < self[key].unsqueeze(1)

    def compare(self, key: str, found: Tensor, tolerance: float) -> None:
        """Compare with the tensor of that key; the tolerance is a share of its largest absolute value."""
        expected = self[key]
        if key.endswith(".first_rows"):
            found = found[: len(expected)]
        assert found.squeeze().shape == expected.squeeze().shape, key
        difference = (found.detach().double().reshape(expected.shape) - expected).abs().max() / expected.abs().max()
        assert difference <= tolerance, f"{self.name} {key}: {difference:.1e} > {tolerance:.0e}"


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def fill(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Put the values into all of the parameters and buffers, none left out and none left over."""
    left = {key for key in parameters if "num_batches_tracked" not in key} ^ set(values)
    assert not left, sorted(left)
    with torch.no_grad():
        for key, value in values.items():
            parameters[key].copy_(value.reshape(parameters[key].shape))


def similarity(entry: str, dimension: int, widths: Widths, layers: int = 1, **changes: Any) -> Similarity:
    """The similarity of an entry of `method` with other options, in float64, without dropout."""
    options = preset("scenes").method[entry].similarity.model_copy(update=changes)
    embedding = EmbeddingParameters(dimension=dimension, layers=layers, hidden=2, dropout=0.0)
    return build_similarity(options, embedding, widths).double()


def renamed(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights that `names` tells (theirs to ours), also of what lies inside: "fc" is "fc.weight" and "fc.bias"."""
    found = {}
    for theirs, ours in names.items():
        for key, value in weights.items():
            if key == theirs or key.startswith(f"{theirs}."):
                found[ours + key.removeprefix(theirs)] = value
    return found


def state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
