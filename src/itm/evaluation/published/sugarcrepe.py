"""SugarCrepe: a true caption of a COCO photo against the same with a detail added, replaced or swapped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itm.data.annotations import raise_wrong
from itm.errors import DataError, shown
from itm.evaluation.published import sources
from itm.evaluation.published.report import Report
from itm.evaluation.result import Metrics, id_hash
from itm.metrics import half_truth
from itm.vectors import Gallery, Vectors, left_out, read_similarity

KINDS = ("add_obj", "add_att", "replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att")
"""The parts, a file each, KIND.json; only those of `add` are half-truths: all that is true, and a wrong detail more."""
FIELDS = ("filename", "caption", "negative_caption")
ROWS = 100_000
"""Caption ids: this many for each part, in the order above; twice the row's number, and one more for the wrong one."""
_PHOTO = re.compile(r"(\d{12})\.jpg", re.ASCII)


class Foils(NamedTuple):
    """Rows of the parts that are at hand: which part, photo, true and wrong caption, as positions in the gallery."""

    gallery: Gallery
    part: NDArray[np.int64]
    image: NDArray[np.int64]
    true: NDArray[np.int64]
    wrong: NDArray[np.int64]
    absent: list[str]


def evaluate(vectors: Vectors, folder: Path | None, *, normalize: bool) -> Report:
    """How often the true caption scores strictly higher, of each part and as the mean of the parts of one kind."""
    foils = read_foils(folder)
    similarity = read_similarity(vectors, foils.gallery, normalize)
    if not similarity.paired:
        return Report(left_out=[left_out("sugarcrepe", similarity)])
    scorer = similarity.pairs()
    right = half_truth(scorer.exact(foils.image, foils.true), scorer.exact(foils.image, foils.wrong))
    report = Report()
    found: Metrics = {}
    for part in np.unique(foils.part):
        rows = np.flatnonzero(foils.part == part)
        found[KINDS[part]] = float(right[rows].mean())
        photos = foils.gallery.image_ids[foils.image[rows]]
        ids = foils.gallery.caption_ids[foils.true[rows]]
        report.values("sugarcrepe", KINDS[part], "right", right[rows].astype(np.float64), ids, photos)
    for kind in ("add", "replace", "swap"):
        own = [name for name in KINDS if name.startswith(kind)]
        if all(name in found for name in own):
            found[kind] = float(np.mean([found[name] for name in own]))
    report.metrics["sugarcrepe"] = found
    if foils.absent:
        report.left_out.append(f"sugarcrepe ({', '.join(foils.absent)}): left out, since these files are not at hand")
    report.protocol |= {
        "rows": {KINDS[part]: int((foils.part == part).sum()) for part in np.unique(foils.part)},
        "images": len(foils.gallery.image_ids),
        "caption_id_hash": id_hash(foils.gallery.caption_ids),
        "equal_scores": "wrong",
    }
    return report


def read_foils(folder: Path | None) -> Foils:
    """The parts that are at hand, in the order of `KINDS`.

    Raises:
        DataError: none is at hand, or one is not of the published form.
    """
    rows: list[tuple[int, int, str, str, str]] = []
    absent: list[str] = []
    missing: DataError | None = None
    for part, kind in enumerate(KINDS):
        try:
            path = sources.find((f"{kind}.json",), folder)
        except DataError as error:
            absent.append(kind)
            missing = missing or error
            continue
        rows += [(part, number, *fields) for number, fields in _read(path)]
    if not rows:
        assert missing is not None
        raise missing
    parts, numbers, names, true, wrong = zip(*rows, strict=True)
    photos = list(dict.fromkeys(names))
    place = {name: at for at, name in enumerate(photos)}
    image = np.array([place[name] for name in names], dtype=np.int64)
    first = ROWS * np.array(parts, dtype=np.int64) + 2 * np.array(numbers, dtype=np.int64)
    gallery = Gallery(
        np.array([int(name[:12]) for name in photos], dtype=np.int64),
        np.stack((first, first + 1), axis=1).ravel(),
        np.repeat(image, 2),
        photos,
        [text for pair in zip(true, wrong, strict=True) for text in pair],
    )
    at = 2 * np.arange(len(rows), dtype=np.int64)
    return Foils(gallery, np.array(parts, dtype=np.int64), image, at, at + 1, absent)


def _read(path: Path) -> list[tuple[int, tuple[str, str, str]]]:
    """Number, photo, true and wrong caption of each row."""
    values = sources.read_json(path)
    if not isinstance(values, dict) or not values:
        raise DataError(
            f"{path}: {'empty' if values == {} else f'is a {type(values).__name__}'}; expected rows by number, with"
            f" {', '.join(FIELDS)}; fetch the file again",
            reason="form",
        )
    wrong = [f"row {shown(key, 20)}: {fault}" for key, row in values.items() if (fault := _fault(key, row))]
    raise_wrong(wrong, str(path), "rows")
    return [(int(key), (row["filename"], row["caption"], row["negative_caption"])) for key, row in values.items()]


def _fault(key: str, row: Any) -> str:
    if not key.isdecimal() or not key.isascii() or not int(key[:9]) < ROWS // 2 or str(int(key)) != key:
        return "is no number of a row"
    if not isinstance(row, dict):
        return f"is {type(row).__name__}, not an object"
    if missing := [name for name in FIELDS if name not in row]:
        return f"has no {', '.join(missing)}"
    if empty := [name for name in FIELDS if not isinstance(row[name], str) or not row[name].strip()]:
        return f"{empty[0]} {shown(row[empty[0]], 20)} is no text"
    return "" if _PHOTO.fullmatch(row["filename"]) else f"filename {shown(row['filename'], 20)} is no COCO photo's"
