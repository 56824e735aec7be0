"""DITM's loss: relaxed negatives, and the order of an image's captions, by descriptiveness."""

from itm.methods.losses.ditm.loss import DitmLoss

__all__ = ["DitmLoss"]
