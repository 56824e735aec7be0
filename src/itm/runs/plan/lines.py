"""A plan as lines of figures, each with its basis; "unknown" where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from itm.errors import size_text

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Line:
    """One figure. value: None where it is unknown; basis: how it was come by, or why it is unknown."""

    name: str
    value: float | None
    basis: str
    unit: str = "bytes"

    @property
    def shown(self) -> str:
        """The value as printed."""
        if self.unit == "":
            return ""
        if self.value is None:
            return UNKNOWN
        if self.unit == "bytes":
            return size_text(self.value)
        if self.unit == "seconds":
            return f"{self.value / 3600:.1f} h" if self.value >= 3600 else f"{self.value:.0f} s"
        return f"{self.value:,.0f}" if float(self.value).is_integer() else f"{self.value:g}"


@dataclass
class Plan:
    """All lines, by section."""

    preset: str
    parts: dict[str, list[Line]] = field(default_factory=dict)

    def sections(self) -> Iterator[tuple[str, list[Line]]]:
        """Titles with their lines; empty sections are left out."""
        yield from ((title, lines) for title, lines in self.parts.items() if lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "preset": self.preset,
            "sections": {
                title: [{"name": x.name, "value": x.value, "unit": x.unit, "basis": x.basis} for x in lines]
                for title, lines in self.sections()
            },
        }
