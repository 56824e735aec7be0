"""Containment against a literal loop."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from itm.errors import DataError
from itm.text.relaxation import containment, keyword_union


@given(
    arrays(bool, (6, 5)),
    arrays(float, 5, elements=st.floats(0.5, 9)),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_containment_equals_a_literal_loop(holds: np.ndarray, idf: np.ndarray, groups: list[int]) -> None:
    keywords = sp.csr_array(holds * idf)
    union = keyword_union(keywords, np.array(groups), 4)
    gamma = containment(keywords, union)
    assert gamma.shape == (4, 6)
    for image in range(4):
        said = {w for caption in range(6) if groups[caption] == image for w in np.flatnonzero(holds[caption])}
        for caption in range(6):
            own = np.flatnonzero(holds[caption]).tolist()
            expected = sum(idf[w] for w in own if w in said) / sum(idf[w] for w in own) if own else 0
            assert gamma[image, caption] == pytest.approx(expected, abs=1e-6)
    for caption, image in enumerate(groups):
        assert gamma[image, caption] == (1 if holds[caption].any() else 0)


def test_vocabularies_must_agree() -> None:
    with pytest.raises(DataError, match="captions have 3 keywords and images 2"):
        containment(sp.csr_array((4, 3)), sp.csr_array((1, 2)))
    with pytest.raises(DataError, match="1 groups for 4 captions"):
        keyword_union(sp.csr_array((4, 3)), np.array([0]), 1)
