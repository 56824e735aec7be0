"""AAHR's similarity: ambiguity-aware and high-order relation learning (arXiv 2507.09256)."""

from itm.methods.similarities.aahr.similarity import AahrSimilarity

__all__ = ["AahrSimilarity"]
