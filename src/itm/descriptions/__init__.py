"""Descriptions of images as further knowledge of them: who writes them, what makes vectors of them, their files."""
