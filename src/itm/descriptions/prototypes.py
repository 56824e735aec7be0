"""Prototypes: the centres of k-means over the vectors of training descriptions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError

Floats = NDArray[np.float32]

IMAGES_A_PROTOTYPE = 32


def prototypes_of(vectors: Floats, images: int, clusters: int, seed: int) -> Floats:
    """Means (clusters, width) float32 of the clusters of unit vectors, in an order that depends on the seed only.

    k-means with one k-means++ start (Lloyd). Rows are means, not of unit length; the nearer a norm to 1, the narrower
    the cluster.

    Args:
        vectors: (descriptions, width) float32, of training images only.
        images: training images that have a description.
        clusters: 0 = one for `IMAGES_A_PROTOTYPE` images, at least 2.

    Raises:
        DataError: there are fewer different vectors than clusters.
    """
    from sklearn.cluster import KMeans

    clusters = clusters or max(2, round(images / IMAGES_A_PROTOTYPE))
    different = len(np.unique(vectors, axis=0)) if len(vectors) else 0
    if different < clusters:
        raise DataError(
            f"{clusters} prototypes of {different} different training descriptions: set prototypes to {different} or "
            "less, or prototype_weight to 0",
            reason="too-few",
        )
    found = KMeans(clusters, n_init=1, random_state=seed, algorithm="lloyd").fit(vectors.astype(np.float64))
    centres: Floats = found.cluster_centers_.astype(np.float32)
    return centres
