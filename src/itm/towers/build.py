"""Towers from parameters, and from the card of a saved model, as one backend or another computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from itm.config.model import Backend, TowersParameters
from itm.errors import ConfigError, ModelError, nearest
from itm.towers.base import Computed, Features, Towers


def build_towers(
    parameters: TowersParameters, training_texts: Iterable[str] = (), vocabulary: Sequence[str] | None = None
) -> Towers:
    """New towers as params.yaml asks for.

    `training_texts` gives the small text tower its vocabulary; a saved `vocabulary` takes precedence.

    Raises:
        ModelError: weights are missing, unknown or do not fit (reasons "weights-unavailable", "unknown-weights",
            "weights-mismatch").
    """
    if parameters.kind == "scratch":
        from itm.towers.scratch import ScratchTowers, build_vocabulary

        return ScratchTowers(
            build_vocabulary(training_texts) if vocabulary is None else vocabulary,
            image_size=parameters.image_size,
            context_length=parameters.context_length,
            image_width=parameters.image_width,
            text_width=parameters.text_width,
            text_layers=parameters.text_layers,
            text_heads=parameters.text_heads,
            token_grid=parameters.token_grid,
        )
    if parameters.kind == "offline":
        from itm.towers.offline import OfflineTowers

        return OfflineTowers(
            image_size=parameters.image_size,
            context_length=parameters.context_length,
            token_grid=parameters.token_grid,
        )
    from itm.towers.open_clip_model import OpenClipTowers

    return OpenClipTowers(
        model=parameters.open_clip_model,
        weights=parameters.open_clip_weights,
        image_size=parameters.image_size,
        context_length=parameters.context_length,
        tokens=parameters.tokens,
        token_grid=parameters.token_grid,
    )


def by_backend(towers: Towers, backend: str) -> Towers:
    """Frozen towers, in evaluation mode, as a backend computes them; "torch" leaves them as they are.

    Raises:
        ConfigError: there is no such backend (reason "unknown-backend").
        ModuleNotFoundError, ModelError: as `GraphTowers`.
    """
    if backend == "torch":
        return towers
    if backend == "torch-bfloat16":
        return BFloat16Towers(towers)
    if backend == "onnxruntime":
        from itm.towers.graphs import GraphTowers

        return GraphTowers(towers)
    raise ConfigError(
        f"backend: '{backend}' is unknown; {nearest(backend, get_args(Backend))}", reason="unknown-backend"
    )


class BFloat16Towers(Computed):
    """Frozen towers under autocast: products round to 8 bits of mantissa, norms and softmax stay in float32.

    Features are float32 again. Any machine computes it; it is faster only where the CPU (avx512_bf16, amx_bf16) or the
    GPU (from Ampere on) has the instructions. The towers given are changed: autocast would round large weights anew for
    each batch, so that they are rounded here, once.
    """

    backend = "torch-bfloat16"

    def __init__(self, towers: Towers) -> None:
        super().__init__(towers)
        for module in towers.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
                module.to(torch.bfloat16)

    def image(self, pixels: Tensor) -> Features:
        """Features of preprocessed images."""
        return _rounded(self.towers.image, pixels)

    def text(self, ids: Tensor) -> Features:
        """Features of token ids."""
        return _rounded(self.towers.text, ids)


def check_same(saved: dict[str, Any], built: dict[str, Any]) -> None:
    """Refuse towers that differ from those a model was trained with (activation, preprocessing, weights, sizes).

    Raises:
        ModelError: any stored fact differs; the message names each with both values (reason "towers-differ").
    """
    differing = [key for key in sorted(saved.keys() | built.keys()) if _plain(saved.get(key)) != _plain(built.get(key))]
    if differing:
        shown = "; ".join(
            f"{key}: saved {_short(saved.get(key))}, now {_short(built.get(key))}" for key in differing[:3]
        )
        raise ModelError(
            f"the model was trained with other towers ({len(differing)} differences: {shown}); "
            "set `towers` as it was, or train again",
            reason="towers-differ",
        )


def _rounded(compute: Callable[[Tensor], Features], values: Tensor) -> Features:
    with torch.autocast(values.device.type, torch.bfloat16):
        found = compute(values)
    return Features(found.pooled.float(), None if found.tokens is None else found.tokens.float(), found.mask)


def _plain(value: Any) -> Any:
    # JSON has no tuples, so that a value that went through a file compares equal
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
