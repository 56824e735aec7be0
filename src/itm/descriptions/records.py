"""descriptions.jsonl: one description a line, checked when it is read and when it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from itm.data.files import atomic_path
from itm.data.schemas.descriptions import check
from itm.data.schemas.rules import raise_faults
from itm.errors import DataError, first_few


@dataclass(frozen=True)
class Description:
    """One description of one image.

    desc_id: 0, 1, ... inside the image. text: None where only its vector is known. generator: what wrote it.
    prompt_id: version of the prompt, '' without one. conditioned_on: the captions its writer was shown: none,
    gt_caption (the image's own; training images only), generated_caption, retrieved_caption. caption_id: the caption
    it was shown, where it is one of the tables.
    """

    image_id: str
    split: str
    desc_id: int
    text: str | None
    generator: str
    prompt_id: str = ""
    conditioned_on: str = "none"
    caption_id: int | None = None


COLUMNS = tuple(field.name for field in fields(Description))


def frame_of(descriptions: Iterable[Description]) -> pd.DataFrame:
    """Descriptions as a table with the types of its contract."""
    table = pd.DataFrame([asdict(one) for one in descriptions], columns=list(COLUMNS))
    texts = ("image_id", "split", "text", "generator", "prompt_id", "conditioned_on")
    return table.astype({**dict.fromkeys(texts, "str"), "desc_id": "int8", "caption_id": "Int64"})


def write_descriptions(path: Path, descriptions: Sequence[Description]) -> None:
    """Write descriptions, one JSON object a line, in the order given.

    Raises:
        DataError: they break their contract; a description that leaks an evaluation caption is one such fault.
    """
    _check(descriptions, path.name)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for one in descriptions:
            file.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")


def read_descriptions(path: Path) -> list[Description]:
    """The descriptions of a file.

    Raises:
        DataError: the file is missing; a line is not JSON or has other keys (all such lines are counted); or the
            table breaks its contract.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; describe.file names a descriptions file (docs/vsd.md says how to get one)",
            reason="missing-file",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", reason="damaged-file") from None
    descriptions: list[Description] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            one = _parse(line)
            if isinstance(one, str):
                wrong.append(f"line {number}: {one}")
            else:
                descriptions.append(one)
    if wrong:
        raise DataError(f"{path}: {len(wrong)} bad lines: {first_few(wrong)}", reason="bad-lines")
    _check(descriptions, str(path))
    return descriptions


def _check(descriptions: Iterable[Description], where: str) -> None:
    raise_faults(check(frame_of(descriptions)), f"{where}: the descriptions cannot be used", "describe")


_TYPES = {"image_id": str, "split": str, "desc_id": int, "generator": str, "prompt_id": str, "conditioned_on": str}
_NULLABLE = {"text": str, "caption_id": int}


def _parse(line: str) -> Description | str:
    """The description of a line, or what is wrong with it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    if not isinstance(values, dict):
        return f"{type(values).__name__} instead of an object"
    missing = [key for key in COLUMNS if key not in values]
    unknown = [key for key in values if key not in COLUMNS]
    if missing or unknown:
        return "; ".join(f"{what} {first_few(keys)}" for what, keys in (("no", missing), ("unknown", unknown)) if keys)
    for key, kind in (_TYPES | _NULLABLE).items():
        value = values[key]
        if type(value) is not kind and not (value is None and key in _NULLABLE):
            return f"{key} is {value!r:.99}, not {'text' if kind is str else 'a whole number'}"
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return f"{key} holds half a character (a lone surrogate)"
    if not -128 <= values["desc_id"] <= 127:
        return f"desc_id is {values['desc_id']!s:.30}, not 0 to 127"
    if not 0 <= (values["caption_id"] or 0) < 2**63:
        return f"caption_id is {values['caption_id']!s:.30}, not 0 to 2^63 - 1"
    return Description(**values)
