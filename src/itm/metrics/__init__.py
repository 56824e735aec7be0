"""Metrics of graded image-text matching, on numpy and scipy alone; usable without the rest of the package."""

from itm.metrics.positives import Positives
from itm.metrics.ranks import HitRanks, hit_ranks, rank_all
from itm.metrics.recall import fold_means, hit_rates, hits_at, rsum
from itm.metrics.scorer import DotProduct, Matrix, Scorer

__all__ = [
    "DotProduct",
    "HitRanks",
    "Matrix",
    "Positives",
    "Scorer",
    "fold_means",
    "hit_ranks",
    "hit_rates",
    "hits_at",
    "rank_all",
    "rsum",
]
