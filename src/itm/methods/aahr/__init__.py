"""Parts of AAHR: ambiguity-aware and high-order relation learning (arXiv 2507.09256)."""
