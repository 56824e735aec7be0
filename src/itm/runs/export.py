"""A trained model as ONNX graphs for other runtimes: photos to vectors, token ids to vectors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itm.data.files import write_json
from itm.data.layout import MODEL_CARD
from itm.errors import ConfigError, ModelError
from itm.model import Model, open_searchable
from itm.towers.graphs import samples, write_graph

IMAGE, TEXT = "image.onnx", "text.onnx"
TOLERANCE = 1e-5
"""The largest difference of a value of a unit vector that is taken for rounding."""


class _Image(nn.Module):
    """RGB pixels (images, size, size, 3) uint8 -> unit vectors (images, width) float32."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.towers, self.method = model.towers, model.method

    def forward(self, pixels: Tensor) -> Tensor:
        return self.method.index_image(self.method.encode_image(self.towers.image(self.towers.preprocess(pixels))))


class _Text(nn.Module):
    """Token ids (texts, context length) int64 -> unit vectors (texts, width) float32."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.towers, self.method = model.towers, model.method

    def forward(self, ids: Tensor) -> Tensor:
        return self.method.index_text(self.method.encode_text(self.towers.text(ids)))


def export_onnx(folder: Path, out: Path) -> dict[str, float]:
    """Both graphs of a model in a new folder, with what a caller must know of their inputs; compared before they count.

    `out` gets image.onnx (pixels: the centre square, resized, RGB uint8), text.onnx (ids: as the tokenizer that
    export.json names makes them, padded to the context length) and the model's card. The inner product of two vectors
    is the similarity. Returns the largest difference of each graph in onnxruntime to the model itself.

    Raises:
        ConfigError: `out` holds something already.
        ModelError: the model scores pairs and has no vectors ("no-index"), or a graph computes something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: not an empty folder; name a new one", reason="not-empty")
    model = open_searchable(folder)
    pixels, ids = samples(model.towers)
    given = {IMAGE: (_Image(model), pixels), TEXT: (_Text(model), ids)}
    made = out.with_name(f".{out.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        differences = {name: _export(module.eval(), values, made / name) for name, (module, values) in given.items()}
        write_json(made / "export.json", _facts(model))
        shutil.copyfile(folder / MODEL_CARD, made / MODEL_CARD)
        if out.exists():
            out.rmdir()
        made.replace(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return differences


def _facts(model: Model) -> dict[str, Any]:
    described = model.towers.describe()
    return {
        "model": model.name,
        "hash": model.hash,
        "image": {"file": IMAGE, "input": "pixels", "shape": ["images", *[model.towers.image_size] * 2, 3]},
        "text": {"file": TEXT, "input": "ids", "shape": ["texts", described["context_length"]]},
        "tokenizer": described.get("text", described["kind"]),
        "vocabulary": described.get("vocabulary", []),
    }


def _export(module: nn.Module, values: Tensor, path: Path) -> float:
    """Write one graph, run it on more rows than it was traced with; returns the largest difference."""
    import onnxruntime

    name = "pixels" if values.dtype == torch.uint8 else "ids"
    write_graph(module, values[:2], path, name, ["vectors"], {0: torch.export.Dim("batch", min=1)})
    with torch.no_grad():
        expected = module(values).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: values.numpy()})
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{path.name}: its vectors differ by up to {difference:.2g} from the model's, more than {TOLERANCE:g}; "
            "nothing was written",
            reason="export-differs",
        )
    return difference
