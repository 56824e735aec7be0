"""The presets of conf/ as tests take them: each is composed once, for Hydra needs half a second for it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from itm.config.parameters import Parameters, validate
from itm.config.presets import compose

ROOT = Path(__file__).parents[1]


@functools.cache
def _composed(name: str, choices: tuple[str, ...]) -> Parameters:
    return compose(name, choices, root=ROOT)


def preset(name: str, *choices: str, changes: Mapping[str, object] | None = None) -> Parameters:
    """The parameters of a preset with choices of groups ("model=scratch") and other values by dotted key."""
    values = _composed(name, choices).model_dump()
    for key, value in (changes or {}).items():
        *sections, last = key.split(".")
        place = functools.reduce(dict.__getitem__, sections, values)
        assert last in place, key
        place[last] = value
    return validate(values, name)


FEW = ("clip", "ditm", "ditm-margin", "esl-global", "esl-token", "vse")
"""The methods that the preset `scenes` names."""


def write_small_conf(root: Path) -> Path:
    """conf/ of this repository in another folder, with few methods: `scenes` composes in a third of the time."""
    shutil.copytree(ROOT / "conf", root / "conf")
    for file in (root / "conf/method").iterdir():
        if file.stem not in FEW:
            file.unlink()
    return root


def hydra_once(name: str, overrides: Iterable[str]) -> Any:
    """In place of `hydra.compose`: what it composed before it gives again, for commands that compose a preset twice."""
    return _hydra(name, tuple(overrides))


@functools.cache
def _hydra(name: str, overrides: tuple[str, ...]) -> Any:
    from hydra.compose import compose as hydra_compose

    return hydra_compose(name, list(overrides))
