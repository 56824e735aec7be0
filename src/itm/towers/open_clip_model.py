"""Any open_clip model as a pair of towers, with weights from a hub, a local file, or random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itm.errors import ModelError, nearest
from itm.towers.base import Features, Towers, grid_tokens


def activation_of(model: nn.Module) -> str:
    """The activation of the image tower's blocks: "quick_gelu", "gelu", or "other".

    OpenAI's weights were trained with QuickGELU; evaluated with GELU they lose several points without any error,
    so the activation is stored with a model and compared when it is opened.
    """
    names = {type(module).__name__ for module in model.modules()}
    if "QuickGELU" in names:
        return "quick_gelu"
    return "gelu" if "GELU" in names else "other"


class OpenClipTowers(Towers):
    """The two towers of an open_clip model, without its logit scale."""

    def __init__(
        self,
        *,
        model: str,
        weights: str,
        image_size: int,
        context_length: int,
        tokens: bool = False,
        token_grid: int = 0,
    ) -> None:
        super().__init__()
        import open_clip

        known = open_clip.list_models()
        if model not in known:
            raise ModelError(f"towers.open_clip_model: open_clip has no model '{model}'; {nearest(model, known)}")
        self.model_name, self.weights = model, weights
        tags = open_clip.list_pretrained_tags_by_model(model)
        if weights and weights not in tags and not Path(weights).is_file():
            raise ModelError(
                f"towers.open_clip_weights: '{weights}' is neither a file nor a pretrained tag of {model}; "
                f"{nearest(weights, tags)}",
                reason="unknown-weights",
            )
        try:
            self.model, _, transform = open_clip.create_model_and_transforms(
                model, pretrained=weights or None, force_quick_gelu=weights == "openai", force_image_size=image_size
            )
        except Exception as error:  # every hub client raises its own kind when there is no network
            raise ModelError(
                f"the weights '{weights}' of {model} could not be fetched or read "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}); "
                "connect to the network once so that they are cached, or set towers.open_clip_weights to a local file",
                reason="weights-unavailable",
            ) from error
        self.new = not weights
        self.image_size, self.context_length = image_size, context_length
        self._tokenizer = open_clip.get_tokenizer(model, context_length=context_length)
        visual = self.model.visual
        self._mean, self._deviation = (tuple(map(float, v)) for v in (visual.image_mean, visual.image_std))
        self.tokens, self.token_grid = tokens, token_grid
        if tokens and not all(hasattr(each, "forward_intermediates") for each in (self.model, visual)):
            raise ModelError(
                f"towers.tokens: open_clip does not give the tokens of {model} ({type(visual).__name__}); use a ViT "
                "model, or methods that take pooled features",
                reason="no-tokens",
            )
        self.eval()  # in training a look at one image would move the statistics of batch norms
        with torch.no_grad():
            image = self.image(torch.zeros(1, 3, image_size, image_size))
            text = self.text(self._tokenizer([""]))
        self.train()
        self.image_width, self.text_width = image.pooled.shape[-1], text.pooled.shape[-1]
        # without tokens nothing is built for them; the pooled widths stand in
        self.image_token_width = (image.pooled if image.tokens is None else image.tokens).shape[-1]
        self.text_token_width = (text.pooled if text.tokens is None else text.tokens).shape[-1]
        self._transform = str(transform)

    def preprocess(self, images: Tensor) -> Tensor:
        """Pixels normalised with the mean and deviation the model was trained with."""
        pixels = images.permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(self._mean, device=pixels.device).view(1, 3, 1, 1)
        return (pixels - mean) / torch.tensor(self._deviation, device=pixels.device).view(1, 3, 1, 1)

    def tokenize(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Ids of the model's own tokenizer."""
        ids: np.ndarray[Any, np.dtype[np.int64]] = self._tokenizer(list(texts)).numpy().astype(np.int64, copy=False)
        return ids

    def image(self, pixels: Tensor) -> Features:
        """The model's image embedding before normalisation, and its patches after the last layer if asked for."""
        if not self.tokens:
            return Features(self.model.encode_image(pixels))
        found = self.model.forward_intermediates(
            image=pixels, image_indices=1, normalize=False, normalize_intermediates=True
        )
        tokens = grid_tokens(found["image_intermediates"][-1], self.token_grid)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(found["image_features"], tokens, mask)

    def text(self, ids: Tensor) -> Features:
        """The model's text embedding before normalisation, and its tokens after the last layer if asked for."""
        if not self.tokens:
            return Features(self.model.encode_text(ids))
        found = self.model.forward_intermediates(
            text=ids, text_indices=1, normalize=False, normalize_intermediates=True
        )
        mask = ids != 0
        # an exported graph cuts nothing by what the values are
        longest = ids.shape[1] if torch.compiler.is_exporting() else max(int(mask.sum(1).max()), 1)
        return Features(found["text_features"], found["text_intermediates"][-1][:, :longest], mask[:, :longest])

    def checkpoint_gradients(self) -> None:
        """Compute the transformer layers of both towers again in the backward pass."""
        visual = type(self.model.visual).__name__
        if visual == "ModifiedResNet":  # its switch does nothing, and says nothing
            super().checkpoint_gradients()
        self.model.set_grad_checkpointing(True)

    def describe(self) -> dict[str, Any]:
        """Model and weights, activation, preprocessing."""
        return {
            "kind": "open_clip",
            "model": self.model_name,
            "weights": Path(self.weights).name if self.weights else "",
            "image_size": self.image_size,
            "context_length": self.context_length,
            "token_grid": self.token_grid,
            "activation": activation_of(self.model),
            "preprocessing": {"mean": self._mean, "deviation": self._deviation, "resize": "centre square"},
        }
