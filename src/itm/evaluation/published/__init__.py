"""Published benchmarks for anybody's embeddings: a file of vectors and ids in, the quoted metrics out."""

from itm.evaluation.published.report import Report
from itm.evaluation.published.run import BENCHMARKS, evaluate_file

__all__ = ["BENCHMARKS", "Report", "evaluate_file"]
