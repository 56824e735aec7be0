"""Parameters of what can be added to any method; what is not named is not there."""

from __future__ import annotations

from itm.config.base import Section


class Additions(Section):
    """Further terms and inputs, each under its name."""
