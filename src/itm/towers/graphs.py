"""Frozen towers as ONNX graphs that onnxruntime computes on the CPU, made once and compared with PyTorch each time."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from itm.data.files import atomic_path
from itm.errors import ModelError
from itm.towers.base import Computed, Features, Towers

log = logging.getLogger(__name__)

FOLDER = Path(".itm/graphs")
TOLERANCE = 1e-4
"""The largest length of a row's difference from PyTorch's features, as a part of that row's length."""


class GraphTowers(Computed):
    """Towers whose features onnxruntime computes.

    It computes with as many threads as torch does when they are made, and gives the same bits in each run. Features are
    on the device of their inputs.

    Raises:
        ModuleNotFoundError: onnxruntime, or what exports to it, is not installed.
        ModelError: a tower cannot be exported ("no-graph"), or its graph computes something else ("graph-differs").
    """

    backend = "onnxruntime"

    def __init__(self, towers: Towers, folder: Path = FOLDER) -> None:
        super().__init__(towers)
        key = _key(towers)
        pixels, ids = samples(towers)
        given = {"image": towers.preprocess(pixels), "text": ids}
        self._sessions: dict[str, Any] = {}
        for part, values in given.items():
            self._open(part, values, folder / f"{part}-{key}.onnx")

    def _open(self, part: str, values: Tensor, path: Path) -> None:
        """Open the graph of a tower that agrees with PyTorch, made anew where none does."""
        with torch.inference_mode(False), torch.no_grad():
            expected: Features = getattr(self.towers, part)(values)
        if path.is_file():
            try:
                self._sessions[part] = _session(path)
                if _difference(getattr(self, part)(values), expected) <= TOLERANCE:
                    return
            except Exception as error:  # onnxruntime has its own kind for each way in which a file can be damaged
                log.warning("%s: cannot be used (%s)", path, type(error).__name__)
        log.info("%s: the graph of the %s tower is made, which takes a minute at most, and kept", path, part)
        with atomic_path(path) as temporary:
            self._write(part, values[:2], temporary, 1 if expected.tokens is None else 2)
            self._sessions[part] = _session(temporary)
            difference = _difference(getattr(self, part)(values), expected)
            if not difference <= TOLERANCE:
                raise ModelError(
                    f"towers.backend: the {part} tower's features by onnxruntime differ by {difference:.2g} of their "
                    f"length from PyTorch's, more than {TOLERANCE:g}; set backend: torch",
                    reason="graph-differs",
                )

    def _write(self, part: str, values: Tensor, path: Path, outputs: int) -> None:
        dynamic = {0: torch.export.Dim("batch", min=1)}
        if part == "text" and self.short_texts:
            dynamic[1] = torch.export.Dim("length", min=2, max=values.shape[1])
            values = values[:, :-1]  # a length that is the bound is taken for a constant
        try:
            write_graph(_Part(self.towers, part), values, path, "input", ["pooled", "tokens"][:outputs], dynamic)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # what cannot be traced fails in as many ways as there are models
            reason = " ".join(str(error).split())
            raise ModelError(
                f"towers.backend: the {part} tower of kind '{self.towers.describe()['kind']}' cannot be exported as an "
                f"ONNX graph ({type(error).__name__}: {reason:.300}); set backend: torch",
                reason="no-graph",
            ) from None

    def _run(self, part: str, values: Tensor) -> list[Tensor]:
        found = self._sessions[part].run(None, {"input": values.cpu().contiguous().numpy()})
        return [torch.from_numpy(each).to(values.device) for each in found]

    def image(self, pixels: Tensor) -> Features:
        """Features of preprocessed images."""
        pooled, *rest = self._run("image", pixels)
        if not rest:
            return Features(pooled)
        return Features(pooled, rest[0], torch.ones(rest[0].shape[:2], dtype=torch.bool, device=pixels.device))

    def text(self, ids: Tensor) -> Features:
        """Features of token ids."""
        mask = ids != 0
        longest = max(int(mask.sum(1).max()), 1)
        mask = mask[:, :longest]
        pooled, *rest = self._run("text", ids[:, :longest] if self.short_texts else ids)
        return Features(pooled, rest[0][:, :longest], mask) if rest else Features(pooled)


class _Part(nn.Module):
    """One tower: pooled features, and its tokens where it gives any."""

    def __init__(self, towers: Towers, part: str) -> None:
        super().__init__()
        self.towers, self.part = towers, part
        self.eval()

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        found: Features = getattr(self.towers, self.part)(values)
        return (found.pooled,) if found.tokens is None else (found.pooled, found.tokens)


def write_graph(
    module: nn.Module, values: Tensor, path: Path, name: str, outputs: Sequence[str], dynamic: dict[int, Any]
) -> None:
    """Trace a module of one input, called `name`, and write its ONNX graph; `dynamic`: the axes of any length."""
    import onnxscript  # noqa: F401 (said to be missing here, not from deep within the exporter)

    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch to itself
        torch.onnx.export(
            module,
            (values,),
            path,
            input_names=[name],
            output_names=list(outputs),
            dynamic_shapes=(dynamic,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.use_deterministic_compute = True
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def samples(towers: Towers) -> tuple[Tensor, Tensor]:
    """Three photos of random pixels and three texts as token ids, on which a graph is compared with PyTorch."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, towers.image_size, towers.image_size, 3), np.uint8)
    ids = towers.tokenize(["a dog", "two people walk along a beach at sunset", ""])
    return torch.from_numpy(pixels), torch.from_numpy(ids)


def _difference(found: Features, expected: Features) -> float:
    """The largest length of a row's difference, of pooled features or of all real tokens, as a part of its length."""
    pairs = [(found.pooled, expected.pooled)]
    if found.tokens is not None and expected.tokens is not None and expected.mask is not None:
        real = expected.mask[..., None]
        pairs.append((found.tokens * real, expected.tokens * real))
    parts = [((a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1).clamp(min=1e-12)).max() for a, b in pairs]
    return float(torch.stack(parts).max())


def _key(towers: Towers) -> str:
    """What a graph depends on: what the towers say of themselves, their weights, the versions of all who made it."""
    import onnxruntime
    import onnxscript

    versions = [torch.__version__, onnxruntime.__version__, onnxscript.__version__]
    told = hashlib.sha256(json.dumps([towers.describe(), versions], sort_keys=True).encode())
    for name, weight in towers.state_dict().items():  # a tag, or a file's name, says too little of weights
        told.update(name.encode())
        told.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return told.hexdigest()[:24]
