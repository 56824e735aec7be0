"""Data sets: catalogue, readers, contracts, cleaning, image shards, and the built-in scenes."""
