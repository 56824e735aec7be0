"""Disk space of a project: what takes it, what is still needed, and the deletion of the rest."""

from itm.runs.storage.clear import clear
from itm.runs.storage.garbage import survey

__all__ = ["clear", "survey"]
