"""What takes disk space, what still needs it, and how the rest is deleted."""

from itm.runs.storage.clear import clear
from itm.runs.storage.garbage import survey

__all__ = ["clear", "survey"]
