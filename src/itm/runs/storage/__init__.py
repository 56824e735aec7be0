"""Disk space: its users, their needs, and the deletion of the rest."""

from itm.runs.storage.clear import clear
from itm.runs.storage.garbage import survey

__all__ = ["clear", "survey"]
