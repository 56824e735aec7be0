"""The addition `words`: a trained text encoder's states in the place of the texts' tokens, beside frozen towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from itm.methods.method import Addition
from itm.towers.base import Features
from itm.towers.hugging_face import TextEncoder

if TYPE_CHECKING:
    from itm.config.additions import WordsParameters


class Words(Addition):
    """A text encoder that is trained with the method, at a learning rate of its own.

    What the frozen towers know of a whole text stays; its tokens become the encoder's.
    """

    def __init__(self, options: WordsParameters) -> None:
        super().__init__()
        self.options = options
        self.encoder = TextEncoder(options.model)

    def start(self, constants: Mapping[str, Tensor]) -> None:
        """Take the pretrained weights."""
        self.encoder.take_weights()

    def read_text(self, features: Features) -> Features:
        """The features with the states of their `inputs`, token ids."""
        assert features.inputs is not None
        tokens, mask = self.encoder(features.inputs)
        return replace(features, tokens=tokens, mask=mask)

    def again(self, features: Features, kind: str) -> Features:
        """The features as this encoder makes them, whoever made those given; images stay as they are."""
        return self.read_text(features) if kind == "text" else features
