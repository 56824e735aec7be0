"""Descriptions of images as further knowledge of them: their writers, their vectors, their files."""
