"""Fixtures that several rooms use; the modules beside this file define them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from _pytest.nodeid import NodeId
from hypothesis import settings

# The importlib mode of pytest leaves this folder out of the path.
sys.path.append(str(Path(__file__).parent))

from browser import browser, open_page  # noqa: F401
from small_model import small  # noqa: F401

# machines are noisy: how long an example takes says nothing
# the same examples in every run: what only chance finds is looked for by `make long`
settings.register_profile("quick", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.load_profile("quick")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no worker is left with it in the end: groups, then pipelines.

    Groups are named here as well: pytest-xdist 3.8 writes the name where pytest 9.2 no longer looks for it.
    """
    items.sort(
        key=lambda item: (item.get_closest_marker("xdist_group") is None, "orchestration" not in item.path.parts)
    )
    for item in items if config.getoption("loadgroup", False) else ():
        group = item.get_closest_marker("xdist_group")
        if group and not item.nodeid.endswith(f"@{group.args[0]}"):
            item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")
