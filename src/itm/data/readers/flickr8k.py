"""Flickr8k: official splits, five captions a photo, expert and crowd judgements; with it the HierarCaps photos.

Traps of the files that this reader knows: captions hold double quotes, so that no CSV reader may interpret them;
one image name ends in ".jpg.1" and has no photo; 92 names are in no split; expert scores are sorted inside a row,
so that a column is no judge.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from itm.config.parameters import Parameters
from itm.data.annotations import content_of, lines_of
from itm.data.archives import Archive
from itm.data.flickr8k_texts import CROWD, EXPERT, Texts, no_lists, read_texts
from itm.data.layout import SPLITS
from itm.data.readers.base import CAPTION_COLUMNS, IMAGE_COLUMNS, QUARANTINE_COLUMNS, RATING_COLUMNS, RawData, need
from itm.data.readers.hierarcaps import read_chains
from itm.errors import DataError, first_few, shown

log = logging.getLogger(__name__)

PHOTOS, TEXTS = "flickr8k-images.zip", "flickr8k-text.zip"
SUBSET_SIZES = {"train": 1500, "dev": 500, "test": 500}


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """Captions in the official order of each split; every caption outside it is rejected with a reason."""
    subset = parameters.datasets.flickr8k.subset
    texts = read_texts(need(raw, TEXTS), judgements=(EXPERT, CROWD))
    subsets = Path(parameters.data.path) / f"flickr8k-{subset}.txt"
    names = texts.splits
    if set(names) != set(SPLITS):
        if subset == "all":
            raise no_lists(raw / TEXTS)
        names = {split: [name for own, name in _pairs(subsets) if own == split] for split in SPLITS}
        log.warning("%s has no official splits: those of %s count", texts.file, subsets)
    with Archive(need(raw, PHOTOS)) as archive:
        photos = archive.by_name({n for split in SPLITS for n in names[split]})
    official = names
    if subset != "all":
        names = _subset(subsets, names)
    images = pd.DataFrame(
        [(_stem(n), split, "flickr8k", PHOTOS, photos.get(n, "")) for split in SPLITS for n in names[split]],
        columns=list(IMAGE_COLUMNS),
    )
    rows = _captions(texts)
    _check_five(rows, {n for split in SPLITS for n in official[split]}, raw / TEXTS)
    placed = rows["image"].map({n: split for split in SPLITS for n in official[split]})
    # without the official lists nobody knows of the photos outside the subset that they are in no split
    outside_lists = placed.isna() & rows["image"].isin(photos.keys()) & (not texts.splits)
    rejected = rows[placed.isna() & ~outside_lists]
    reason = np.where(rejected["image"].isin(photos.keys()), "no-split", "no-photo")
    quarantine = pd.DataFrame(
        {
            "source": texts.file,
            "row": rejected["row"],
            "reason": reason,
            "text": rejected["raw_text"],
            "image_id": rejected["image"].map(_stem),
        }
    )[list(QUARANTINE_COLUMNS)]
    order = {n: place for place, n in enumerate(n for split in SPLITS for n in names[split])}
    chosen = rows[rows["image"].isin(order.keys())]
    chosen = chosen.assign(place=chosen["image"].map(order)).sort_values(["place", "position"], kind="stable")
    captions = chosen.assign(
        image_id=chosen["image"].map(_stem),
        split=placed,
        level=np.int8(-1),
        multiplicity=np.int32(-1),
        source=texts.file,
    )[list(CAPTION_COLUMNS)]
    caption_ids = {
        f"{image}#{position}": c
        for image, position, c in zip(rows["image"], rows["position"], rows["caption_id"], strict=True)
    }
    known, allowed = (set().union(*lists.values()) for lists in (official, names))
    known |= set() if texts.splits else set(rows["image"])
    for file in {EXPERT, CROWD} - texts.judgements.keys():
        log.warning("%s has no %s: there is nothing to measure human judgements with", raw / TEXTS, file)
    ratings, outside = _ratings(texts.judgements, caption_ids, allowed, known)
    chains, chain_images = read_chains(raw)
    notes = {
        "captions_read": len(rows),
        "captions_with_double_quote": int(rows["raw_text"].str.contains('"', regex=False).sum()),
        "captions_outside_subset": int((placed.notna() | outside_lists).sum() - len(captions)),
        "ratings_outside_subset": outside,
        "photos_in_no_split": len(set(photos) - known),
    }
    return RawData(
        captions.reset_index(drop=True),
        pd.concat([images, chain_images], ignore_index=True),
        chains,
        ratings,
        rejected=quarantine.reset_index(drop=True),
        notes=notes,
    )


def choose_subset(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """The names of the mini subset: of each split the first by sha256 of the name, in official order.

    A hash instead of a random generator: the choice depends on no library's version.
    """
    chosen = {}
    for split, size in SUBSET_SIZES.items():
        kept = set(sorted(names[split], key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:size])
        chosen[split] = [name for name in names[split] if name in kept]
    return chosen


def _pairs(path: Path) -> list[list[str]]:
    """The words of each line of a subset list."""
    return [line.split() for line in lines_of(content_of(path, remedy="restore it from git"), str(path))]


def _subset(path: Path, official: dict[str, list[str]]) -> dict[str, list[str]]:
    """The names of a committed subset list: lines `split name`."""
    pairs = _pairs(path)
    wrong = [" ".join(pair) for pair in pairs if len(pair) != 2 or pair[1] not in official.get(pair[0], [])]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} lines are not `split name` of the official splits ({first_few(wrong)}); "
            "restore it from git",
            reason="subset",
        )
    return {split: [name for s, name in pairs if s == split] for split in SPLITS}


def _stem(name: str) -> str:
    return name.removesuffix(".jpg")


def _captions(texts: Texts) -> pd.DataFrame:
    """One row a caption; caption_id is its number in the file from 0."""
    rows = pd.DataFrame(texts.captions, columns=["image", "position", "raw_text"]).astype({"position": np.int8})
    numbers = np.arange(len(rows), dtype=np.int64)
    return rows.assign(caption_id=numbers, row=numbers + 1)


def _check_five(rows: pd.DataFrame, names: set[str], path: Path) -> None:
    """Stop unless each photo of a split has its captions 0 to 4: else lines are missing."""
    places = rows[rows["image"].isin(names)].groupby("image")["position"].agg(sorted)
    wrong = [f"{name} ({places.get(name, 'none')})" for name in sorted(names) if places.get(name) != [0, 1, 2, 3, 4]]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} of {len(names)} photos do not have the captions 0 to 4 ({first_few(wrong)}); fetch "
            "the file again",
            reason="missing-captions",
        )


def _ratings(
    judgements: dict[str, list[str]], caption_ids: dict[str, int], allowed: set[str], known: set[str]
) -> tuple[pd.DataFrame, int]:
    """Both judgement tables in one; pairs outside `allowed` are counted, not kept."""
    rows: list[tuple[str, int, str, float, int]] = []
    wrong: list[str] = []
    outside = 0
    for file, lines in judgements.items():
        for number, line in enumerate(lines, start=1):
            parts = line.split("\t")
            try:
                image, caption = parts[0], parts[1]
                values = [float(part) for part in parts[2:]]
                caption_id = caption_ids[caption]
                if len(values) != 3 or image not in known:
                    raise ValueError
            except (ValueError, KeyError, IndexError):
                wrong.append(f"{file} line {number}: {shown(line)}")
                continue
            if image not in allowed or caption.rpartition("#")[0] not in allowed:
                outside += 1
            elif file == EXPERT:
                rows += [("expert", caption_id, _stem(image), value, judge) for judge, value in enumerate(values)]
            else:
                rows.append(("crowdflower", caption_id, _stem(image), values[0], -1))
    if wrong:
        raise DataError(f"{len(wrong)} judgements cannot be read: {first_few(wrong)}", reason="form")
    table = pd.DataFrame(rows, columns=["kind", "caption_id_1", "image_id_1", "score", "judge"])
    table = table.assign(caption_id_2=None, image_id_2=None, sampling="")
    return table[list(RATING_COLUMNS)], outside
