"""The losses: what is minimised, given the similarities of a batch."""
