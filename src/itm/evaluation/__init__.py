"""Benchmarks: data and embeddings in, metrics and per-query values out. One module a benchmark."""
