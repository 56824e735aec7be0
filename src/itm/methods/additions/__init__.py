"""Additions to any similarity and loss."""
