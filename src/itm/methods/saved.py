"""A trained model as two files: weights, and a card with all that rebuilds their method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

import itm
from itm.config.methods import MethodParameters, has_old_form
from itm.config.model import EmbeddingParameters, TowersParameters
from itm.data.files import atomic_path, read_json, sha256_of, write_json
from itm.data.layout import MODEL_CARD, MODEL_WEIGHTS
from itm.errors import ModelError, first_few
from itm.methods.build import build_method
from itm.methods.method import Method, Widths
from itm.towers.base import Towers
from itm.towers.build import build_towers, by_backend, check_same

CARD_KEYS = ("name", "seed", "method", "embedding", "towers", "towers_description", "widths")
"""What a card must say for its model to be built again."""


def save_model(
    folder: Path,
    method: Method,
    towers: Towers | None,
    *,
    name: str,
    seed: int,
    method_parameters: MethodParameters,
    embedding: EmbeddingParameters,
    towers_parameters: TowersParameters,
    towers_description: dict[str, Any],
    widths: Widths,
    training: dict[str, Any],
) -> dict[str, Any]:
    """Write `model.safetensors` and `model.json` into a folder; the content of the latter is given back.

    `towers` are stored when they were trained; frozen towers (None) are named by `towers_description`, which holds
    their weights' hashes, activation and preprocessing.
    """
    tensors = {f"method.{key}": value for key, value in method.exported().items()}
    if towers is not None:
        tensors |= {f"towers.{key}": value for key, value in towers.state_dict().items()}
    with atomic_path(folder / MODEL_WEIGHTS) as temporary:
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary)
        digest = sha256_of(temporary)
    card = {
        "graded_itm": itm.__version__,
        "name": name,
        "seed": seed,
        "similarity": method.kind,
        "method": method_parameters.model_dump(),
        "embedding": embedding.model_dump(),
        "towers": towers_parameters.model_dump(),
        "towers_description": towers_description,
        "widths": asdict(widths),
        "weights": digest,
        "training": training,
    }
    write_json(folder / MODEL_CARD, card)
    return card


def load_model(
    folder: str | Path, with_towers: bool = True, backend: str = "torch"
) -> tuple[Method, Towers | None, dict[str, Any]]:
    """The method, its towers and its card from a folder, in evaluation mode.

    With `with_towers=False` frozen towers are left out (their cached features are used instead); trained towers
    always come, since the weights are theirs. `backend` says who computes frozen towers here, whoever made the features
    of training: they are the same but for their last digits.

    Raises:
        ModelError: the weights are damaged or do not fit the card, the towers built now differ from those of training,
            or they were trained and `backend` is not "torch" (reason "trained-towers").
        ConfigError: there is no such backend.
        DataError: a file is missing.
    """
    folder = Path(folder)
    card, towers_parameters, parts = _read_card(folder)
    if backend != "torch" and not towers_parameters.frozen:
        raise ModelError(
            f"{folder}: its towers were trained, and backend '{backend}' computes frozen ones only; take torch, or "
            "write the whole model as ONNX graphs (`itm export`)",
            reason="trained-towers",
        )
    vocabulary = card["towers_description"].get("vocabulary")
    # built without memory first: a card may ask for sizes that no machine has
    try:
        with torch.device("meta"), _NoNormalValues():
            _check_shapes("method.", build_method(*parts).exported(), folder)
            if towers_parameters.kind == "scratch":
                _check_shapes("towers.", build_towers(towers_parameters, vocabulary=vocabulary).state_dict(), folder)
    except RuntimeError as error:
        raise ModelError(f"{folder / MODEL_CARD}: sizes that no machine has: {error}", reason="bad-card") from None
    if card.get("weights") not in (None, sha256_of(folder / MODEL_WEIGHTS)):  # older cards do not know it
        raise ModelError(
            f"{folder / MODEL_WEIGHTS}: its bytes are not those that {MODEL_CARD} tells of: a damaged file, or one of "
            "another training; take both from one, or train again",
            reason="weights-mismatch",
        )
    method = build_method(*parts)
    towers = None
    if with_towers or not towers_parameters.frozen:
        towers = build_towers(towers_parameters, vocabulary=vocabulary)
        told = {key: value for key, value in card["towers_description"].items() if key != "backend"}
        check_same(told, towers.describe())
    with _weights(folder / MODEL_WEIGHTS) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    _fill(method, "method.", tensors, folder)
    if towers is not None and not towers_parameters.frozen:
        _fill(towers, "towers.", tensors, folder)
    method.eval()
    if towers is not None:
        towers = by_backend(towers.eval(), backend)
    return method, towers, card


class _NoNormalValues(TorchFunctionMode):
    """What is built here gets no normal values: to draw them for "meta" PyTorch imports its compiler, a second."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        if function is torch.nn.init.normal_:
            return keywords["tensor"]
        return (torch.empty if function is torch.randn else function)(*arguments, **keywords)


def _read_card(
    folder: Path,
) -> tuple[dict[str, Any], TowersParameters, tuple[MethodParameters, EmbeddingParameters, Widths]]:
    """The card of a model, checked, and what its towers and its method are built from."""
    path = folder / MODEL_CARD
    card = read_json(path)
    lacking = [key for key in CARD_KEYS if not isinstance(card, dict) or key not in card]
    if lacking:
        raise ModelError(f"{path}: is no model's card: it lacks {first_few(lacking)}", reason="bad-card")
    try:
        towers = towers_of(card)
        if not isinstance(card["towers_description"], dict) or not isinstance(card["widths"], dict):
            raise ValueError("towers_description and widths must be keys with values")
        words = card["towers_description"].get("vocabulary")
        if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise ValueError("the vocabulary of towers_description must be a list of words")
        # older cards call the width of description vectors "side"
        widths = {"description_width" if key == "side" else key: value for key, value in card["widths"].items()}
        bad = {key: value for key, value in widths.items() if type(value) is not int or value < 0}
        if bad:
            raise ValueError(f"widths must be whole numbers from 0 on: {bad}")
        embedding = EmbeddingParameters.model_validate(card["embedding"])
        return card, towers, (method_parameters(card), embedding, Widths(**widths))
    except (ValidationError, ValueError, TypeError) as error:
        lines = " ".join(str(error).split())
        raise ModelError(f"{path}: is no card of this version: {lines[:400]}; train again", reason="bad-card") from None


def _check_shapes(prefix: str, tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Compare the shapes of tensors, which need no memory, with those under `prefix` in the file of weights."""
    path = folder / MODEL_WEIGHTS
    with _weights(path) as file:
        stored = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a dict)
    wanted = {f"{prefix}{key}": tuple(value.shape) for key, value in tensors.items()}
    other = [
        f"{key} is {stored.get(key, 'missing')}, not {shape}"
        for key, shape in wanted.items()
        if stored.get(key) != shape
    ]
    if other:
        raise ModelError(
            f"{path} does not fit {folder / MODEL_CARD}: {len(other)} tensors differ ({first_few(other)})",
            reason="weights-mismatch",
        )


@contextmanager
def _weights(path: Path) -> Iterator[Any]:
    """The file of a model's weights, open."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path}: cannot be read as safetensors ({error}); train again", reason="bad-weights"
        ) from None


def towers_of(card: dict[str, Any]) -> TowersParameters:
    """The options of the towers that a model's card tells; older cards do not know the backend."""
    return TowersParameters.model_validate({"backend": "torch", **card["towers"]})


def method_parameters(card: dict[str, Any]) -> MethodParameters:
    """The options of the method that a model's card tells.

    Raises:
        ModelError: the card is of an old form (reason "old-form").
    """
    if has_old_form(card["method"]):
        raise ModelError(
            f"the card of {card['name']}, seed {card['seed']} has an old form: a loss has its options inside now; "
            f"`itm migrate FOLDER/{MODEL_CARD}` rewrites it, or train again",
            reason="old-form",
        )
    return MethodParameters.model_validate(card["method"])


def _fill(module: torch.nn.Module, prefix: str, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    try:
        # what serves training only is not in the file, and stays as it was built
        kept = module.exported() if isinstance(module, Method) else module.state_dict()
        rest = {key: value for key, value in module.state_dict().items() if key not in kept}
        module.load_state_dict(rest | own, strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"{folder / MODEL_WEIGHTS} does not fit {folder / MODEL_CARD}: {error}", reason="weights-mismatch"
        ) from None
