"""The explorer: a page on this machine that shows graded matches of texts and photos, side by side for two models."""
