"""Tests that share something costly run on one worker."""

import pytest


@pytest.mark.xdist_group("together")
def test_the_id_of_a_grouped_test_names_its_group(request):
    """By which pytest-xdist hands out tests; a test process of its own has no workers to choose from."""
    assert request.node.nodeid.endswith("@together") == request.config.getoption("loadgroup", False)
