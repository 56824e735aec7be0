"""Typed parameters. `load()` reads and validates params.yaml; one module a group of sections."""

from itm.config.parameters import BENCHMARKS, Parameters, load, validate

__all__ = ["BENCHMARKS", "Parameters", "load", "validate"]
