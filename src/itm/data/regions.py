"""Region features that a user supplies, one array an image, from the layouts that data/regions/README.md states."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import read_json, read_npy, readable
from itm.errors import DataError, first_few

IMAGES, IDS = "_ims.npy", "_ids.txt"
KEYS = ("features", "feat", "x")
_AGAIN = "put it there again"
Regions = NDArray[Any]
"""Regions of one image (regions, width), any float type."""

_COCO = re.compile(r"COCO_(?:train|val|test)\d{4}_(\d{12})")


class RegionRows(Sequence[Regions]):
    """Regions of several images: views of mapped files, and files that are read each time they are looked at."""

    def __init__(self, found: Sequence[Regions | Path]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, row: Any) -> Any:
        each = self._found[row]
        return _single(each) if isinstance(each, Path) else each


def read_regions(folder: Path, image_ids: Sequence[str]) -> RegionRows:
    """The regions of each image, in the order asked for; read when they are looked at, so that none is held.

    Raises:
        DataError: there are no files; a file is damaged, of another form, or not of numbers; arrays differ in their
            width; or images have no regions (the first three are named).
    """
    names = _names(image_ids)
    numbered = _numbered(folder)
    found: dict[str, Regions | Path] = {}
    width_of: dict[str, int] = {}
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; put region features there (data/regions/README.md)", reason="form")
    arrays, singles = sorted(folder.glob(f"*{IMAGES}")), sorted(folder.glob("*.npz"))
    if not arrays and not singles:
        raise DataError(
            f"{folder}: holds neither *{IMAGES} nor *.npz; put region features there (data/regions/README.md), or set "
            "regions.use: false",
            reason="no-regions",
        )
    for path in arrays:
        for image_id, regions in _scan(path, names, numbered):
            found.setdefault(image_id, regions)
            width_of.setdefault(image_id, regions.shape[1])
    for path in singles:
        single = names.get(path.stem)
        if single is not None and single not in found:
            found[single], width_of[single] = path, _single(path).shape[1]
    missing = [image_id for image_id in image_ids if image_id not in found]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(image_ids)} images have no regions ({first_few(missing)}); the files "
            f"there name {len(found)} images of this data set{_as_named(arrays, singles)}. How images are named: "
            "data/regions/README.md",
            reason="missing-regions",
        )
    widths = sorted(set(width_of.values()))
    if len(widths) > 1:
        odd = [name for name, width in width_of.items() if width != widths[-1]]
        raise DataError(
            f"{folder}: regions have {len(widths)} widths ({first_few(widths)}); {len(odd)} images are not as wide as "
            f"the others ({first_few(odd)})",
            reason="form",
        )
    return RegionRows([found[image_id] for image_id in image_ids])


def check_finite(regions: Sequence[Regions], image_ids: Sequence[str], limit: float = 65504.0) -> None:
    """Raise for images with no regions, with values that are no numbers, or beyond what 16 bits hold (`limit`).

    Raises:
        DataError: such images, counted, the first three named.
    """
    bad = [
        name
        for name, each in zip(image_ids, regions, strict=True)
        if not len(each) or not float(np.abs(each).max()) <= limit
    ]
    if bad:
        raise DataError(
            f"regions of {len(bad)} images are empty, not finite, or beyond {limit:g} ({first_few(bad)}); "
            "compute them again",
            reason="bad-regions",
        )


def _names(image_ids: Sequence[str]) -> Mapping[str, str]:
    """The image by each name that a file may give it."""
    names: dict[str, str] = {}
    for image_id in image_ids:
        coco = _COCO.fullmatch(image_id)
        for name in (image_id, *([coco[1], str(int(coco[1]))] if coco else [])):
            names[name] = image_id
    return names


def _numbered(folder: Path) -> Mapping[str, str]:
    """File names by the numbers that SCAN's files give Flickr30K's images: Karpathy's `imgid`.

    Of `id_mapping.json` (number to name) or of Karpathy's `dataset_*.json`, whichever lies in the folder.
    """
    found: dict[str, str] = {}
    for path in [*folder.glob("id_mapping.json"), *sorted(folder.glob("dataset_*.json"))]:
        content = read_json(path)
        try:
            images = content.get("images")
            pairs = content.items() if images is None else ((each["imgid"], each["filename"]) for each in images)
            for number, name in pairs:
                found.setdefault(str(int(number)), str(name))
        except (TypeError, KeyError, ValueError, AttributeError):
            raise DataError(
                f"{path}: is neither numbers with file names nor Karpathy's list of images (imgid, filename)",
                reason="form",
            ) from None
    return found


def _as_named(arrays: Sequence[Path], singles: Sequence[Path]) -> str:
    """How the files name images, for a message; with what is missing where these are numbers without a list."""
    lists = [path.with_name(path.name.removesuffix(IMAGES) + IDS) for path in arrays]
    lines = [line for each in lists[:1] for line in each.read_text(encoding="utf-8").split()[:3]]
    shown = lines or [path.stem for path in singles[:3]]
    hint = ""
    if lines and all(line.isdigit() for line in lines):
        hint = "; if these are numbers of Karpathy's list (as SCAN's for Flickr30K), put dataset_flickr30k.json there"
    return f", as {', '.join(shown)}{hint}"


def _scan(path: Path, names: Mapping[str, str], numbered: Mapping[str, str]) -> Iterator[tuple[str, Regions]]:
    """The images of one array that are asked for, each with its first row.

    Only where none of the lines is a name do the numbers of a list count: COCO's numbers are names.
    """
    ids = path.with_name(path.name.removesuffix(IMAGES) + IDS)
    values = _load(path)
    if values.ndim != 3 or values.dtype.kind != "f":
        raise DataError(
            f"{path}: expected an array of floats (images, regions, width), found {values.dtype} {values.shape}",
            reason="form",
        )
    try:
        lines = [line.strip() for line in ids.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(
            f"{ids}: no such file; it must name the image of each row of {path.name}", reason="form"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{ids}: is not text", reason="form") from None
    if len(lines) == 5 * len(values):
        groups = [lines[start : start + 5] for start in range(0, len(lines), 5)]
        mixed = [str(row) for row, group in enumerate(groups) if len(set(group)) > 1]
        if mixed:
            raise DataError(
                f"{ids}: five lines a row of {path.name}, and those of {len(mixed)} rows name several images "
                f"({first_few(mixed)})",
                reason="form",
            )
        lines = [group[0] for group in groups]
    if len(values) == 5 * len(lines):
        ends = (0, len(values) - 5) if lines else ()
        if any(not np.array_equal(values[first], values[first + 4]) for first in ends):
            raise DataError(f"{path}: five rows a line of {ids.name}, and they are not the same", reason="form")
        values = values[::5]
    if len(lines) != len(values):
        raise DataError(f"{ids}: {len(lines)} lines for {len(values)} rows of {path.name}", reason="form")
    images = [_named(line, names) for line in lines]
    if not any(images):
        images = [_named(numbered.get(line, ""), names) for line in lines]
    for image_id, regions in zip(images, values, strict=True):
        if image_id is not None:
            yield image_id, regions


def _named(line: str, names: Mapping[str, str]) -> str | None:
    return names.get(line) or names.get(line.rsplit("/", 1)[-1].rsplit(".", 1)[0])


def _single(path: Path) -> Regions:
    with readable(path, _AGAIN), np.load(path, allow_pickle=False) as stored:
        name = next((key for key in KEYS if key in stored.files), None)
        if name is None:
            has = first_few(stored.files) or "nothing"
            raise DataError(f"{path}: has no array {', '.join(KEYS)} (has: {has})", reason="form")
        values: Regions = stored[name]
    if values.ndim != 2 or values.dtype.kind != "f":
        raise DataError(f"{path}: expected floats (regions, width), found {values.dtype} {values.shape}", reason="form")
    return values


def _load(path: Path) -> Regions:
    with readable(path, _AGAIN):
        found: Regions = read_npy(path)
    return found
