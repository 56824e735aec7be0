"""Memory, disk and time of the stages before training, by formulas fitted to docs/results/scale.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itm.config import Parameters
from itm.data.catalogue import CATALOGUE, load_catalogue
from itm.runs.plan.data import CAPTIONS_AN_IMAGE, all_images, features_size
from itm.runs.plan.lines import Line
from itm.runs.plan.models import Models

ARCHIVES = (".zip", ".tar", ".gz")


@dataclass(frozen=True)
class Counts:
    """What a data set holds. photo_bytes: of all photos together, None where nobody has published it."""

    images: int
    captions: int
    photo_bytes: float | None

    @classmethod
    def of(cls, root: Path, parameters: Parameters) -> Counts | None:
        """Those of the published splits and of data/catalogue.yaml; None where the splits are not published."""
        images = all_images(parameters)
        if images is None:
            return None
        files = load_catalogue(root / CATALOGUE)[parameters.data.name].files
        listed = [files[name] for name in parameters.data.files if name.endswith(ARCHIVES) and name in files]
        sizes = [each.bytes or next((copy.bytes for copy in each.mirror), None) for each in listed]
        photos = None if None in sizes or not sizes else float(sum(size or 0 for size in sizes))
        return cls(images, CAPTIONS_AN_IMAGE * images, photos)


@dataclass(frozen=True)
class Formula:
    """What a stage takes at all, for an image, for a caption, and for a byte of the photos."""

    base: float = 0
    image: float = 0
    caption: float = 0
    byte: float = 0

    def __call__(self, counts: Counts | None) -> float | None:
        """The value; None where the counts are unknown, or the photos' size by which it goes."""
        if counts is None or (self.byte and counts.photo_bytes is None):
            return None
        photos = self.byte * (counts.photo_bytes or 0)
        return self.base + self.image * counts.images + self.caption * counts.captions + photos

    def text(self, unit: str) -> str:
        """The formula as printed; `unit`: B, or s for seconds."""
        million, small, factor = ("MB", "B", 1.0) if unit == "B" else ("s", "ms", 1e3)
        base = f"{self.base / (1e6 if unit == 'B' else 1):,.3g} {million}"
        terms = {"an image": self.image * factor, "a caption": self.caption * factor}
        shown = [f"{value:,.4g} {small} {per}" for per, value in terms.items() if value]
        photos = ["the photos" if unit == "B" else f"{self.byte * 1e9:,.3g} s a GB of photos"] if self.byte else []
        return " + ".join([*([base] if self.base else []), *shown, *photos])


MEMORY = {
    "download": Formula(47e6),
    "clean": Formula(205e6, 2000, 1020),
    "score": Formula(208e6, 0, 830),
}
DISK = {
    "download": Formula(0, 0, 75, 1),
    "clean": Formula(0, 820, 95, 1),
    "score": Formula(0, 0, 97),
}
SECONDS = {
    "download": Formula(1.2, 0, 0, 2e-9),
    "clean": Formula(1.4, 1.2e-4, 3.6e-5, 2.4e-8),
    "score": Formula(1, 0, 4.9e-6),
}
LIBRARIES, TEXT, DECODING = 1.1e9, 150, Formula(6, 1e-4, 0, 1e-8)
"""features: bytes of libraries; of a text beside its ids and features; seconds beside those of the towers."""


@dataclass(frozen=True)
class Need:
    """Most bytes of memory held, bytes written, and seconds of one core; None: unknown. basis: of each of the three."""

    memory: float | None
    disk: float | None
    seconds: float | None
    basis: dict[str, str]


def needs(parameters: Parameters, models: Models, counts: Counts | None) -> dict[str, Need]:
    """What download, clean, score and features take, by the name of the stage."""
    found = {}
    for name, memory in MEMORY.items():
        disk, seconds = DISK[name], SECONDS[name]
        basis = {"memory": memory.text("B"), "disk": disk.text("B"), "seconds": seconds.text("s")}
        found[name] = Need(memory(counts), disk(counts), seconds(counts), basis)
    return {**found, "features": _features(parameters, models, counts)}


def _features(parameters: Parameters, models: Models, counts: Counts | None) -> Need:
    if not parameters.towers.frozen:
        return Need(MEMORY["download"].base, 0, 1, dict.fromkeys(("memory", "disk", "seconds"), "towers are trained"))
    images, texts = (None, None) if counts is None else (counts.images, counts.captions)
    size, why = features_size(parameters, models, images, texts)
    if texts is None or images is None or size is None or models.towers is None or models.rates is None:
        return Need(None, size, None, dict.fromkeys(("memory", "disk", "seconds"), why))
    ids = 2 * parameters.towers.context_length
    memory = LIBRARIES + 4 * models.towers + size + texts * (TEXT + ids)
    of_image, of_text = models.rates
    towers, rest = of_image * images + of_text * texts, DECODING(counts)
    basis = {
        "memory": f"libraries, towers, the features, and {TEXT + ids:,} B a text",
        "disk": why,
        "seconds": f"{1e3 * of_image:.3g} ms an image and {1e3 * of_text:.3g} ms a text, tried here on the CPU by "
        f"PyTorch; and {DECODING.text('s')}",
    }
    return Need(memory, size, None if rest is None else towers + rest, basis)


def stage_lines(needed: dict[str, Need], what: str) -> Iterator[Line]:
    """Lines of the plan; `what`: memory, disk or seconds."""
    for name, need in needed.items():
        if what != "disk":
            unit, more = ("seconds", "; seconds of one core") if what == "seconds" else ("bytes", "")
            yield Line(name, getattr(need, what), need.basis[what] + more, unit)
        elif name in FOLDERS:
            yield Line(FOLDERS[name], need.disk, need.basis[what])


FOLDERS = {"clean": "data/clean", "score": "data/scored"}
"""Where a stage writes, for those that no other part of the plan names."""
