"""Many experiments: what a result was made of, all results in one table, what they take on disk, what a preset asks."""
