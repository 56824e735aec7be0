"""Cards of models that were changed: one message, and no memory for what no weights have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm.data.layout import MODEL_CARD
from itm.errors import ModelError, ProjectError
from itm.methods.saved import load_model

CHANGES = {
    "no towers": (("towers",), ..., "lacks towers"),
    "towers are a list": (("towers",), [], "no card of this version"),
    "a description that is text": (("towers_description",), "no", "must be keys with values"),
    "widths are a number": (("widths",), 3, "must be keys with values"),
    "a width of -1": (("widths", "image"), -1, "whole numbers from 0 on"),
    "a width that is text": (("widths", "image"), "8", "whole numbers from 0 on"),
    "a width that is unknown": (("widths", "sound"), 8, "no card of this version"),
    "a width of 51 GB": (("widths", "image"), 10**9, "tensors differ"),
    "an embedding of 51 GB": (("embedding", "dimension"), 10**9, "tensors differ"),
    "an unknown similarity": (("method", "similarity", "type"), "none", "no card of this version"),
    "an unknown loss": (("method", "loss", "type"), "os", "no card of this version"),
    "a method of another kind": (("method",), "clip", "no card of this version"),
    "a width beyond all memory": (("widths", "image"), 2**62, "sizes that no machine has"),
    "an image tower of 2.9 TB": (("towers", "image_width"), 200_000, "no card of this version.*image_width"),
    "a text tower of 49 GB": (("towers", "text_width"), 64_000, "no card of this version.*text_width"),
    "text layers without end": (("towers", "text_layers"), 10**6, "no card of this version.*text_layers"),
    "an image tower as large as may be": (("towers", "image_width"), 1024, "tensors differ .towers.image_tower"),
    "a text tower as large as may be": (("towers", "text_width"), 4096, "tensors differ .towers.text_tower"),
    "a layer more": (("towers", "text_layers"), 2, "tensors differ .*missing"),
    "a vocabulary that is a number": (("towers_description", "vocabulary"), 3, "must be a list of words"),
    "a vocabulary of 0": (("towers_description", "vocabulary"), 0, "must be a list of words"),
    "a vocabulary of lists": (("towers_description", "vocabulary"), [[1]], "must be a list of words"),
    "a vocabulary without end": (("towers_description", "vocabulary"), ["a"] * 10**5, "tensors differ"),
    "no vocabulary": (("towers_description", "vocabulary"), ..., "tensors differ"),
    "no name": (("name",), ..., "lacks name"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_card_is_refused_in_one_message(small: SimpleNamespace, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small.models[0], folder)
    card = json.loads((folder / MODEL_CARD).read_text())
    (*path, last), value, message = CHANGES[change]
    place = card
    for key in path:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    (folder / MODEL_CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"card"', "{", "[" * 60_000])
def test_what_is_no_card_is_refused(small: SimpleNamespace, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(small.models[0], folder)
    (folder / MODEL_CARD).write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_model(folder)
    assert len(str(caught.value)) < 1000
