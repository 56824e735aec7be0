"""The similarities of methods: vectors from features, and numbers from pairs of them."""
