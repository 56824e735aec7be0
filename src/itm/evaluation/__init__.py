"""What embeddings are worth: benchmarks, published protocols, tests of differences, means of runs."""
