"""Text encoders of transformers, by a hub's name or a local folder: widths, tokens by word, states of all tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

from itm.errors import ModelError

Small = np.ndarray[Any, np.dtype[np.integer]]
_PART = 8192
"""Texts that are tokenized at a time: a tokenizer keeps some kilobytes of each until all are done."""
_Found = TypeVar("_Found")


def of_hub(model: str) -> tuple[str, str]:
    """The name and the revision in `NAME@REVISION`; "main" where none is named, and for a folder, whatever its name."""
    name, _, revision = model.rpartition("@")
    return (name, revision) if name and revision and not Path(model).exists() else (model, "main")


def config_of(model: str) -> Any:
    """The configuration of a model.

    Raises:
        ModelError: it cannot be had (reason "weights-unavailable"); so all functions here.
    """
    from transformers import AutoConfig

    name, revision = of_hub(model)
    return _fetched(model, lambda: AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False))


def width_of(model: str) -> int:
    """The width of a model's states."""
    return int(config_of(model).hidden_size)


class TextEncoder(nn.Module):
    """The last hidden states of all tokens, with those that open and close a text. Starts with random weights."""

    def __init__(self, model: str) -> None:
        super().__init__()
        from transformers import AutoModel

        self.name, config = model, config_of(model)
        self.width, self.pad = int(config.hidden_size), int(config.pad_token_id or 0)
        self.model = AutoModel.from_config(  # type: ignore[no-untyped-call]
            config, attn_implementation="sdpa", trust_remote_code=False
        )
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # made for whole texts, used by nobody here, and in everybody's way

    def take_weights(self) -> None:
        """Take the pretrained weights."""
        from transformers import AutoModel

        name, revision = of_hub(self.name)
        found = _fetched(self.name, lambda: AutoModel.from_pretrained(name, revision=revision, trust_remote_code=False))
        weights = found.state_dict()
        self.model.load_state_dict({key: weights[key] for key in self.model.state_dict()})

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """States (texts, longest, width) and their mask, for ids (texts, length) that are padded at the end."""
        mask = ids != self.pad
        longest = max(int(mask.sum(1).max()), 1)
        ids, mask = ids[:, :longest], mask[:, :longest]
        states: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states, mask


def tokenize(model: str, texts: Sequence[str], length: int) -> tuple[Small, Small, int, int]:
    """Ids int32 and words int16 (texts, length), the id of a mask, and how many ids there are.

    A word's pieces have its number, from 0; what opens, closes and fills up a text has -1.
    """
    from transformers import AutoTokenizer

    name, revision = of_hub(model)
    tokenizer = _fetched(
        model,
        lambda: AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False, use_fast=True),
    )
    if tokenizer.mask_token_id is None or not tokenizer.is_fast:
        raise ModelError(
            f"add.words.model: '{model}' has no mask token, or no fast tokenizer that tells words apart; take an "
            "encoder such as bert-base-uncased",
            reason="no-mask-token",
        )
    ids, words = np.zeros((len(texts), length), np.int32), np.full((len(texts), length), -1, np.int16)
    for start in range(0, len(texts), _PART):
        some = texts[start : start + _PART]
        found = tokenizer(list(some), padding="max_length", truncation=True, max_length=length)
        ids[start : start + _PART] = found["input_ids"]
        words[start : start + _PART] = [
            [-1 if word is None else word for word in found.word_ids(row)] for row in range(len(some))
        ]
    return ids, words, int(tokenizer.mask_token_id), len(tokenizer)


def _fetched(model: str, fetch: Callable[[], _Found]) -> _Found:
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return fetch()
    except Exception as error:  # every hub client raises its own kind when there is no network
        reason = " ".join(str(error).split())
        raise ModelError(
            f"add.words.model: '{model}' cannot be read ({type(error).__name__}: {reason:.200}); name a text encoder "
            "that the hub has (with network access), or a folder with its config, weights and tokenizer",
            reason="weights-unavailable",
        ) from None
