"""The common base of params.yaml's sections: strict types, no unknown key, frozen values."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of params.yaml. Every key must be present and known; values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())
