"""Cleaning: captions normalised, bad training rows rejected with a reason, images verified and packed."""
