"""DITM's loss: descriptiveness relaxes negatives and orders an image's captions."""

from itm.methods.losses.ditm.loss import DitmLoss

__all__ = ["DitmLoss"]
