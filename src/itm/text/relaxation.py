"""The rule by which descriptiveness relaxes a negative: a caption that was not written for an image, and may fit it.

It is stated once: the loss applies it to the pairs of a batch (torch), `itm diagnose` and the report to those of a
split (numpy). So its functions take arrays of either kind and use what both have: arithmetic, `clip`, comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from itm.errors import DataError

if TYPE_CHECKING:
    import scipy.sparse

    from itm.config.losses import DitmParameters as Rule

BY_RELEVANCE = ("soft_targets", "masked", "pseudo_positives")
"""The refinements that ask how relevant a pair is; the others ask what is left of a negative."""


def relaxes(rule: Rule) -> bool:
    """Whether the rule changes any negative: soft targets of weight 0 do not."""
    return rule.refinement != "none" and not (rule.refinement == "soft_targets" and rule.soft_weight == 0)


def strength(rule: Rule, gate: Any, descriptiveness: Any, image_descriptiveness: Any) -> Any:
    """How far each pair is relaxed, (images, captions) 0..1: its relevance, or what a negative loses.

    0 everywhere for a rule that relaxes nothing. Of `masked` and `pseudo_positives` it is a truth value: such a pair
    is relaxed as a whole. Of `negative_sampling` it is the chance to be left out.

    Args:
        gate: (images, captions) 0..1, gamma_ab: how far caption b is about what the captions of image a say.
        descriptiveness: (captions,) 0..1, dn of the captions.
        image_descriptiveness: (images,) 0..1, dn of the images.
    """
    if not relaxes(rule):
        return gate * 0
    delta = difference(descriptiveness, image_descriptiveness)
    if rule.refinement in BY_RELEVANCE:
        found = relevance(rule, gate, delta)
        return found if rule.refinement == "soft_targets" else found > 0
    return lost(rule, gate, delta, descriptiveness)


def difference(descriptiveness: Any, image_descriptiveness: Any) -> Any:
    """delta_ab = dn(t_b) - dn(v_a), (images, captions) -1..1: negative where the caption is the more generic one.

    >>> import numpy as np
    >>> difference(np.array([0.25, 1.0]), np.array([0.5])).tolist()
    [[-0.25, 0.5]]
    """
    return descriptiveness[None, :] - image_descriptiveness[:, None]


def relevance(rule: Rule, gate: Any, delta: Any) -> Any:
    """r_ab = [gamma_ab * clip(1 - delta_ab, 0, 1) - threshold]_+ / (1 - threshold), (images, captions) 0..1 (inferred).

    1 for a caption whose keywords all occur in the image's captions and which is no more specific than they are; by
    the gate alone where the rule has no direction.

    >>> import numpy as np
    >>> from types import SimpleNamespace as Options
    >>> rule = Options(direction=True, soft_threshold=0.5)
    >>> relevance(rule, np.array([[1.0, 1.0]]), np.array([[-0.2, 0.25]])).tolist()
    [[1.0, 0.5]]
    """
    if not rule.direction:
        delta = delta * 0
    return (gate * (1 - delta).clip(0, 1) - rule.soft_threshold).clip(min=0) / (1 - rule.soft_threshold)


def lost(rule: Rule, gate: Any, delta: Any, descriptiveness: Any) -> Any:
    """gamma_ab * (1 - g_ab), (images, captions) 0..1: what a negative loses of its margin, its weight or its chance.

    g_ab = clip(1 + delta_ab / w, g_min, 1), inferred: a relevant caption (gate 1) that is more generic than the
    image's own (delta < 0) is likely a false negative; a more specific one loses nothing. Of `absolute_margin`
    g_ab = clip(dn(t_b), g_min, 1): the caption alone decides (inferred; the reading of the teaser figure in which
    generic captions have many images), which cannot tell that one caption is a false negative of one image and a true
    one of another. Without direction a caption counts as the most generic there is.

    >>> import numpy as np
    >>> from types import SimpleNamespace as Options
    >>> rule = Options(refinement="relative_margin", direction=True, margin_width=1.0, margin_floor=0.0)
    >>> gate, delta = np.array([[1.0, 1.0, 0.0]]), np.array([[-0.5, 0.5, -0.5]])
    >>> lost(rule, gate, delta, None).tolist()
    [[0.5, 0.0, 0.0]]
    >>> lost(Options(**vars(rule) | {"refinement": "absolute_margin"}), gate, delta, np.array([0.0, 0.5, 0.5])).tolist()
    [[1.0, 0.5, 0.0]]
    """
    if rule.refinement == "absolute_margin":
        left = (descriptiveness if rule.direction else descriptiveness * 0).clip(rule.margin_floor, 1)
    else:
        left = (1 + (delta if rule.direction else delta * 0 - 1) / rule.margin_width).clip(rule.margin_floor, 1)
    return gate * (1 - left)


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
