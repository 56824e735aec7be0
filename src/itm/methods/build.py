"""A method from its parameters."""

from __future__ import annotations

from itm.config.methods import ClipParameters, DitmParameters, MethodParameters, VseParameters
from itm.config.model import EmbeddingParameters
from itm.methods.interface import Method


def build_method(
    parameters: MethodParameters, embedding: EmbeddingParameters, image_width: int, text_width: int
) -> Method:
    """A new method of the type that `parameters` names, for towers of the given widths."""
    if isinstance(parameters, ClipParameters):
        from itm.methods.clip import Clip

        return Clip(parameters, embedding, image_width, text_width)
    if isinstance(parameters, VseParameters):
        from itm.methods.vse import Vse

        return Vse(parameters, embedding, image_width, text_width)
    if isinstance(parameters, DitmParameters):
        from itm.methods.ditm import Ditm

        return Ditm(parameters, embedding, image_width, text_width)
    raise TypeError(f"no method for {type(parameters).__name__}")
