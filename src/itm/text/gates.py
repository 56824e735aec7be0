"""Relevance gate: how far an image's captions already say what another caption says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from itm.errors import DataError

if TYPE_CHECKING:
    import scipy.sparse


def containment(keywords: Any, union: Any) -> np.ndarray:
    """Containment gamma (images, captions), float32 in [0, 1].

    gamma_ab = sum of idf over keywords of caption b that some caption of image a holds, divided by the sum
    of idf over all keywords of caption b. A caption without keywords (or with keywords of idf 0 only) gives no
    evidence: 0 for every image.

    Args:
        keywords: (captions, vocabulary) sparse, value = idf of each keyword present (keywords.npz).
        union: (images, vocabulary) sparse; entries > 0 mark the keywords of the image's captions
            (see `keyword_union`).

    >>> import scipy.sparse as sp
    >>> captions = sp.csr_array([[1.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    >>> containment(captions, sp.csr_array([[1.0, 0.0, 2.0]])).tolist()
    [[1.0, 0.25, 0.0]]

    Raises:
        DataError: the two matrices have different vocabularies.
    """
    if keywords.shape[1] != union.shape[1]:
        raise DataError(
            f"containment: captions have {keywords.shape[1]} keywords and images {union.shape[1]}; "
            "take rows of the same keywords.npz",
            reason="shape",
        )
    present = union.tocsr(copy=True)
    present.data = np.ones(len(present.data), dtype=np.float64)
    # most pairs share no keyword: what follows is computed for the others only
    share = (present @ keywords.T.tocsr()).tocsr()
    total = np.asarray(keywords.sum(axis=1), dtype=np.float64).ravel()[share.indices]
    found = np.divide(share.data, total, out=np.zeros(len(share.data)), where=total > 0)
    share.data = np.clip(found, 0, 1, out=found).astype(np.float32)
    gamma: np.ndarray = share.toarray()
    return gamma


def keyword_union(keywords: Any, groups: np.ndarray, images: int) -> scipy.sparse.csr_array:
    """The keywords of each image's captions together (images, vocabulary): 1.0 where one of them holds the word.

    Args:
        keywords: (captions, vocabulary) sparse.
        groups: image row of each caption, int (captions,).
        images: number of images.
    """
    import scipy.sparse

    groups = np.asarray(groups)
    if len(groups) != keywords.shape[0]:
        raise DataError(f"keyword union: {len(groups)} groups for {keywords.shape[0]} captions", reason="shape")
    member = scipy.sparse.csr_array(
        (np.ones(len(groups)), (groups, np.arange(len(groups)))), shape=(images, len(groups))
    )
    union = scipy.sparse.csr_array(member @ keywords)
    union.eliminate_zeros()
    union.data = np.ones(len(union.data))
    return union
