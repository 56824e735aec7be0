"""Files of embeddings or similarities with ids, checked before anything is computed from them."""

from itm.vectors.arrays import SCORES, Similarity, Vectors, left_out, read_similarity, read_vectors
from itm.vectors.gallery import Gallery
from itm.vectors.ids import Ids, check_ids

__all__ = [
    "SCORES",
    "Gallery",
    "Ids",
    "Similarity",
    "Vectors",
    "check_ids",
    "left_out",
    "read_similarity",
    "read_vectors",
]
