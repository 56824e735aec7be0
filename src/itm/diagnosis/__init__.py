"""The effect of a method on the pairs of its batches, measured against the truth where that is known."""
