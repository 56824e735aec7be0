"""Flickr8k's texts: captions, splits and judgements, from the authors' archive or from Kaggle's copy of the captions.

Kaggle's captions.txt is a CSV `image,caption` with a photo's captions in their order, and comes without the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from itm.data.annotations import lines_of, raise_wrong, rows_of
from itm.data.archives import Archive
from itm.data.layout import SPLITS
from itm.errors import DataError, shown

TOKENS, KAGGLE = "Flickr8k.token.txt", "captions.txt"
LISTS = {split: f"Flickr_8k.{split}Images.txt" for split in SPLITS}
EXPERT, CROWD = "ExpertAnnotations.txt", "CrowdFlowerAnnotations.txt"


@dataclass(frozen=True)
class Texts:
    """captions: (photo, position, text) by line of `file`, from 1. A split or judgement file that Kaggle's copy lacks
    is not in `splits` (names) or `judgements` (lines)."""

    file: str
    captions: list[tuple[str, int, str]]
    splits: dict[str, list[str]] = field(default_factory=dict)
    judgements: dict[str, list[str]] = field(default_factory=dict)


def read_texts(path: Path) -> Texts:
    """The texts of an archive, its files in whatever folder.

    Raises:
        DataError: it is no archive, lacks a file, or a line has another form (all such lines are counted).
    """
    with Archive(path) as archive:
        members = archive.by_name({TOKENS, KAGGLE, *LISTS.values(), EXPERT, CROWD})
        kaggle = KAGGLE in members and TOKENS not in members
        captions = (_kaggle if kaggle else _tokens)(archive.find(KAGGLE if kaggle else TOKENS), path)

        def lines(file: str) -> list[str]:
            return lines_of(archive.find(file), f"{path}: {file}")

        there = [file for file in (*LISTS.values(), EXPERT, CROWD) if not kaggle or file in members]
        splits = {split: [line.strip() for line in lines(file)] for split, file in LISTS.items() if file in there}
        judgements = {file: lines(file) for file in (EXPERT, CROWD) if file in there}
    return Texts(KAGGLE if kaggle else TOKENS, captions, splits, judgements)


def no_lists(path: Path) -> DataError:
    """What to do about a copy without the official splits."""
    return DataError(
        f"{path}: {KAGGLE} comes without the official splits; add {', '.join(LISTS.values())} of Flickr8k_text.zip to "
        "the archive, or use datasets.flickr8k.subset=mini, whose lists are here",
        reason="missing-member",
    )


def _tokens(content: bytes, path: Path) -> list[tuple[str, int, str]]:
    """`<photo>#<number>` TAB caption, a line each."""
    captions, wrong = [], []
    for number, line in enumerate(lines_of(content, f"{path}: {TOKENS}"), start=1):
        key, tab, text = line.partition("\t")
        image, sharp, position = key.rpartition("#")
        if tab and sharp and re.fullmatch(r"[0-9]{1,2}", position):
            captions.append((image, int(position), text))
        else:
            wrong.append(f"line {number}: {shown(line)}")
    if wrong:
        raise DataError(
            f"{path}: {TOKENS}: {len(wrong)} lines are not `image#number TAB caption`: {', '.join(wrong[:3])}"
            f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}",
            reason="form",
        )
    return captions


def _kaggle(content: bytes, path: Path) -> list[tuple[str, int, str]]:
    seen: Counter[str] = Counter()
    captions, wrong = [], []
    for number, row in enumerate(rows_of(content, f"{path}: {KAGGLE}", ("image", "caption")), start=1):
        image = row["image"].strip()
        if not image or seen[image] > 99:
            wrong.append(f"row {number}: {shown(image)} is no photo with a caption")
        captions.append((image, seen[image], row["caption"]))
        seen[image] += 1
    raise_wrong(wrong, f"{path}: {KAGGLE}", "rows")
    return captions
