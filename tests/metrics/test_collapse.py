import warnings

import numpy as np
import pytest

from itm.metrics import CollapseWarning, Positives, hit_ranks, warn_if_collapsed


def test_a_constant_model_is_reported_with_its_interval():
    ranks = hit_ranks(np.ones((50, 50)), Positives.from_mask(np.eye(50, dtype=bool)))
    with pytest.warns(CollapseWarning, match=r"toy t2i: .* R@1 lies between 0\.0000 and 1\.0000"):
        assert warn_if_collapsed(ranks, "toy t2i")


def test_a_few_duplicates_are_no_collapse():
    scores = np.random.default_rng(0).random((300, 300))
    scores[:, 7] = scores[:, 8]
    ranks = hit_ranks(scores, Positives.from_mask(np.eye(300, dtype=bool)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_if_collapsed(ranks, "toy")
