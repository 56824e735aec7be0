"""Published benchmarks for anybody's model or embeddings: the quoted metrics."""

from itm.evaluation.published.report import Report
from itm.evaluation.published.run import BENCHMARKS, AssumedWarning, evaluate_file, evaluate_model, evaluate_vectors

__all__ = ["BENCHMARKS", "AssumedWarning", "Report", "evaluate_file", "evaluate_model", "evaluate_vectors"]
