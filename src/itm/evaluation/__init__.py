"""The worth of embeddings: benchmarks, published protocols, tests of differences, means of runs."""
