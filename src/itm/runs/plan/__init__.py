"""`itm plan`: runs, downloads and sizes of a preset, before anything runs."""

from itm.runs.plan.lines import Line, Plan
from itm.runs.plan.make import make_plan

__all__ = ["Line", "Plan", "make_plan"]
