"""Image-text matching that knows degrees: one reproducible pipeline for DITM and its peers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from itm.faults import lacking

if TYPE_CHECKING:
    from itm.model import Model

__version__ = "0.1.0"


def load(folder: str | Path, device: str = "cpu") -> Model:
    """A trained model, opened from its folder (models/METHOD/seedN): encodes photos and texts, gives similarities.

    ::

        model = itm.load("models/ditm/seed0")
        model.similarity(model.encode_images(["photo.jpg"]), model.encode_texts(["a dog", "a white dog"]))

    Raises:
        DataError: a file is missing. ModelError: weights, card and towers do not fit each other. InstallError: a
        package is missing (`pip install 'graded-itm[model]'`).
    """
    try:  # by name: what never opens a model shall not import torch
        model: Model = import_module("itm.model").Model(folder, device)
    except ModuleNotFoundError as error:
        raise lacking(error) or error from None
    return model
