"""Metrics of graded image-text matching, on numpy alone; usable without the rest of the package."""

from itm.metrics.bootstrap import BootstrapCorrelation, bootstrap_spearman
from itm.metrics.calibration import ThresholdCurve, reliability, threshold_curve
from itm.metrics.correlation import average_ranks, kendall, spearman
from itm.metrics.graded import PrecisionAtR, ndcg, precision_at_r, precision_at_r_of_lists
from itm.metrics.grading import (
    Calibration,
    Monotonicity,
    calibration_by,
    calibration_of,
    frontier_area,
    half_truth,
    monotonicity,
    set_f1,
)
from itm.metrics.hierarchy import ChainScores, chain_scores, interpolation, radii, radius_levels, tau_d
from itm.metrics.pairwise import Shortlisted, rank_shortlist, score_blocks
from itm.metrics.plausible import ECCV_LISTS, ECCV_PAPER, PCME, PmrpDefinition, pmrp
from itm.metrics.positives import Positives
from itm.metrics.ranks import CollapseWarning, HitRanks, hit_ranks, rank_all, warn_if_collapsed
from itm.metrics.recall import fold_means, hit_rates, hits_at, rsum
from itm.metrics.scorer import DotProduct, Matrix, Scorer
from itm.metrics.significance import (
    Comparison,
    Interval,
    bootstrap_interval,
    compare_correlations,
    compare_paired,
    holm,
    wilcoxon_p,
)
from itm.metrics.top import top_items

__all__ = [
    "ECCV_LISTS",
    "ECCV_PAPER",
    "PCME",
    "BootstrapCorrelation",
    "Calibration",
    "ChainScores",
    "CollapseWarning",
    "Comparison",
    "DotProduct",
    "HitRanks",
    "Interval",
    "Matrix",
    "Monotonicity",
    "PmrpDefinition",
    "Positives",
    "PrecisionAtR",
    "Scorer",
    "Shortlisted",
    "ThresholdCurve",
    "average_ranks",
    "bootstrap_interval",
    "bootstrap_spearman",
    "calibration_by",
    "calibration_of",
    "chain_scores",
    "compare_correlations",
    "compare_paired",
    "fold_means",
    "frontier_area",
    "half_truth",
    "hit_ranks",
    "hit_rates",
    "hits_at",
    "holm",
    "interpolation",
    "kendall",
    "monotonicity",
    "ndcg",
    "pmrp",
    "precision_at_r",
    "precision_at_r_of_lists",
    "radii",
    "radius_levels",
    "rank_all",
    "rank_shortlist",
    "reliability",
    "rsum",
    "score_blocks",
    "set_f1",
    "spearman",
    "tau_d",
    "threshold_curve",
    "top_items",
    "warn_if_collapsed",
    "wilcoxon_p",
]
