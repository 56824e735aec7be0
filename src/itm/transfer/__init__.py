"""Trained models on data of another data set: no training, and nothing of the target but what is evaluated."""
