"""The examples in the docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import itm.text


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(itm.text.__path__)])
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert doctest.testmod(importlib.import_module(f"itm.text.{name}")).failed == 0
