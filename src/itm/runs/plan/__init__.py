"""`itm plan`: what a preset would run, fetch and take."""

from itm.runs.plan.lines import Line, Plan
from itm.runs.plan.make import make_plan

__all__ = ["Line", "Plan", "make_plan"]
