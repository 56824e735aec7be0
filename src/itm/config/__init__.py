"""Typed parameters. `load()` reads and validates params.yaml; one module a group of sections."""

from itm.config.parameters import BENCHMARK_NAMES, BENCHMARKS, Parameters, load, validate

__all__ = ["BENCHMARKS", "BENCHMARK_NAMES", "Parameters", "load", "validate"]
