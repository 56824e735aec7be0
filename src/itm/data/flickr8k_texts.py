"""Flickr8k's texts: captions, splits and judgements, from the authors' archive or from Kaggle's copy of the captions.

Kaggle's captions.txt is a CSV `image,caption` with a photo's captions in their order, and comes without the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
    """captions: (photo, position, text) by line of `file`. Splits are lists of photos, judgements lines, by file."""

    file: str
    captions: list[tuple[str, int, str]]
    splits: dict[str, list[str]]
    judgements: dict[str, list[str]]


def read_texts(path: Path, splits: Sequence[str] = SPLITS, judgements: Sequence[str] = ()) -> Texts:
    """The captions of an archive, its files in whatever folder, with these splits and files of judgements.

    Kaggle's copy may lack them: then they are left out.

    Raises:
        DataError: it is no archive, or lacks a file; a file is empty; a line of captions has another form.
    """
    with Archive(path) as archive:
        members = archive.by_name({TOKENS, KAGGLE, *LISTS.values(), EXPERT, CROWD})
        kaggle = KAGGLE in members and TOKENS not in members
        file = KAGGLE if kaggle else TOKENS
        captions = (_kaggle if kaggle else _tokens)(archive.find(file), path)

        def lines(file: str) -> list[str]:
            found = lines_of(archive.find(file), f"{path}: {file}")
            if not found:
                raise DataError(f"{path}: {file} is empty; fetch the archive again", reason="form")
            return found

        listed = {split: lines(LISTS[split]) for split in splits if not kaggle or LISTS[split] in members}
        names = {split: [line.strip() for line in found] for split, found in listed.items()}
        judged = {each: lines(each) for each in judgements if not kaggle or each in members}
    return Texts(file, captions, names, judged)


def no_lists(path: Path, splits: Sequence[str] = SPLITS) -> DataError:
    """What to do about a copy without the official splits."""
    return DataError(
        f"{path}: {KAGGLE} comes without the official splits; add {', '.join(LISTS[split] for split in splits)} of "
        "Flickr8k_text.zip to the archive (or clean with datasets.flickr8k.subset=mini, whose lists are here)",
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
