"""Models of other libraries behind two methods: `encode_image` and `encode_text` give arrays of unit vectors.

A model's name is `open_clip:NAME:TAG` (no tag: random weights), `hf:PATH` (CLIP and SigLIP of transformers), `st:PATH`
(sentence-transformers), or the folder of a trained model. PATH is a folder, a hub's name, or `NAME@REVISION`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from itm.errors import InstallError, ModelError, ProjectError, nearest
from itm.model import open_searchable
from itm.towers.hugging_face import of_hub

Floats = NDArray[np.float32]


def open_model(name: str, device: str = "cpu") -> Any:
    """The model of that name.

    Raises:
        ModelError: the name has no such form, or the library cannot open it.
        DataError: a trained model's folder lacks a file.
        InstallError, ModuleNotFoundError: the library is not installed.
    """
    kind, colon, rest = name.partition(":")
    folder = Path(name).is_dir()
    if not folder and not (colon and rest and kind in _KINDS):
        raise ModelError(
            f"no model '{name}': neither a folder nor open_clip:NAME:TAG, hf:PATH, st:PATH", reason="unknown-model"
        )
    try:
        return open_searchable(Path(name), torch.get_num_threads(), device) if folder else _KINDS[kind](rest, device)
    except (ProjectError, ModuleNotFoundError):
        raise
    except Exception as error:  # every library raises its own kinds
        told = (str(error).strip().splitlines() or ["no message"])[0][:300]
        raise ModelError(
            f"{name}: cannot be opened ({type(error).__name__}: {told}); is the name right, and the model here or the "
            "network there?",
            reason="weights-unavailable",
        ) from None


class OpenClip:
    """A model of open_clip with its own preprocessing; without a tag its weights are random."""

    def __init__(self, name: str, device: str, seed: int = 0) -> None:
        import open_clip

        name, _, tag = name.partition(":")
        if name not in open_clip.list_models():
            raise ModelError(f"open_clip has no model '{name}'; {nearest(name, open_clip.list_models())}")
        torch.manual_seed(seed)
        self.model, _, self.prepare = open_clip.create_model_and_transforms(
            name, pretrained=tag or None, force_quick_gelu=tag == "openai", device=device
        )
        self.model.eval()
        self.tokens, self.device = open_clip.get_tokenizer(name), device

    @torch.inference_mode()
    def encode_image(self, images: Sequence[Any]) -> Floats:
        """Unit vectors (n, width) of Pillow images."""
        return _unit(self.model.encode_image(torch.stack([self.prepare(each) for each in images]).to(self.device)))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Floats:
        """Unit vectors (n, width)."""
        return _unit(self.model.encode_text(self.tokens(list(texts)).to(self.device)))


class HuggingFace:
    """A CLIP or SigLIP model of transformers, from a folder or the hub."""

    def __init__(self, path: str, device: str) -> None:
        from transformers import AutoModel, AutoProcessor

        name, revision = of_hub(path)
        self.model = AutoModel.from_pretrained(name, revision=revision, trust_remote_code=False).to(device).eval()
        if not hasattr(self.model, "get_text_features"):
            raise ModelError(f"hf:{path}: {type(self.model).__name__} does not embed images and texts")
        self.processor = AutoProcessor.from_pretrained(name, revision=revision, trust_remote_code=False)  # type: ignore[no-untyped-call]
        self.device = device
        # SigLIP was trained on texts padded to full length, and knows no mask
        self.padding: Any = "max_length" if "siglip" in self.model.config.model_type else True

    @torch.inference_mode()
    def encode_image(self, images: Sequence[Any]) -> Floats:
        """Unit vectors (n, width) of Pillow images."""
        return self._found(self.model.get_image_features, images=list(images))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Floats:
        """Unit vectors (n, width)."""
        return self._found(self.model.get_text_features, text=list(texts), padding=self.padding, truncation=True)

    def _found(self, features: Any, **inputs: Any) -> Floats:
        found = features(**self.processor(return_tensors="pt", **inputs).to(self.device))
        return _unit(getattr(found, "pooler_output", found))


class SentenceTransformers:
    """A model of sentence-transformers: of texts, or a CLIP model of both."""

    def __init__(self, path: str, device: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ModuleNotFoundError:  # in no extra of this package
            raise InstallError(
                "this needs the package sentence-transformers, which is not installed: "
                "pip install sentence-transformers"
            ) from None
        name, revision = of_hub(path)
        self.model = SentenceTransformer(name, revision=revision, device=device, trust_remote_code=False)
        if type(self.model[0]).__name__ == "CLIPModel":
            self.encode_image = self.encode_text

    def encode_text(self, items: Sequence[Any]) -> Floats:
        """Unit vectors (n, width)."""
        found: Floats = self.model.encode(list(items), normalize_embeddings=True, show_progress_bar=False)
        return found


def _unit(values: Tensor) -> Floats:
    found: Floats = torch.nn.functional.normalize(values.float(), dim=-1).cpu().numpy()
    return found


_KINDS = {"open_clip": OpenClip, "hf": HuggingFace, "st": SentenceTransformers}
