"""What a method does to the pairs of its batches, measured against the truth where that is known."""
