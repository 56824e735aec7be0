"""The common base of params.yaml's sections: strict types, no unknown key, frozen values, numbers of sane size."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

_LARGEST = 2**53
"""Whole numbers up to it are the same in JSON, in arrays and as seeds of every library."""


class Section(BaseModel):
    """A part of params.yaml. Every key must be present and known; values are not coerced, and floats are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_huge_number(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, int) and abs(each) > _LARGEST:
                    raise ValueError(f"{key}: a whole number of {len(str(abs(each)))} digits; at most 2^53 is taken")
        return values
