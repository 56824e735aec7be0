"""Image-text matching that knows degrees: one reproducible pipeline for DITM and its peers."""

__version__ = "0.1.0"
