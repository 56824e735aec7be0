"""Image-text matching that knows degrees: one reproducible pipeline for DITM and its peers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itm.faults import lacking

if TYPE_CHECKING:
    from itm.evaluation.published import Report
    from itm.model import Model

__version__ = "0.1.0"


def load(folder: str | Path, device: str = "cpu", backend: str = "torch") -> Model:
    """A trained model, opened from its folder (models/METHOD/seedN): encodes photos and texts, gives similarities.

    ::

        model = itm.load("models/ditm/seed0")
        model.similarity(model.encode_images(["photo.jpg"]), model.encode_texts(["a dog", "a white dog"]))

    Args:
        folder: its files.
        device: where torch computes, as "cuda".
        backend: who computes frozen towers: "torch"; "torch-bfloat16", "onnxruntime" may be faster (docs/training.md).

    Raises:
        DataError: a file is missing. ModelError: weights, card and towers do not fit each other. InstallError: a
        package is missing (`pip install 'graded-itm[model]'`; with onnxruntime `'graded-itm[export]'`).
        ConfigError: there is no such backend.
    """
    try:  # by name: what never opens a model shall not import torch
        model: Model = import_module("itm.model").Model(folder, device, backend=backend)
    except ModuleNotFoundError as error:
        raise lacking(error) or error from None
    return model


def evaluate(
    model: Any, benchmarks: str | Sequence[str], *, images: str | Path | None = None, **options: Any
) -> Report:
    """The metrics of a model on published benchmarks (`itm evaluate --benchmark list`).

    ::

        report = itm.evaluate(model, "hierarcaps", images="photos", annotations="annotations")
        report.metrics["hierarcaps"]["precision"]

    Args:
        model: an object with `encode_image(list of Pillow images) -> array (n, width)` and
            `encode_text(list of str) -> array (n, width)`, or with one of them; or a name: "open_clip:NAME:TAG",
            "hf:PATH", "st:PATH", a trained model's folder.
        benchmarks: one or several.
        images: folder or archive of the photos; without it only texts are compared.
        options: annotations, normalize, keep, device, batch_size, seed, specificity
            (`itm.evaluation.published.evaluate_model`).

    Raises:
        ConfigError, DataError, ModelError, InstallError: as `evaluate_model`.
    """
    run = import_module("itm.evaluation.published").evaluate_model  # by name: the package imports no room of its own
    names = [benchmarks] if isinstance(benchmarks, str) else list(benchmarks)
    paths = {name: Path(options[name]) for name in ("annotations", "keep") if options.get(name) is not None}
    report: Report = run(model, names, images=None if images is None else Path(images), **options | paths)
    return report
