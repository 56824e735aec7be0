"""COCO 2014 and Flickr30K with the splits of Karpathy and Fei-Fei (CVPR 2015), from their JSON files.

For COCO a caption's id is its COCO annotation id, which is what the JSON calls `sentid`; Crisscrossed Captions and
ECCV Caption name captions by it. `restval` images are those of COCO val that are in neither dev nor test; all
published numbers train on them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from itm.config.data import KarpathyParameters
from itm.config.parameters import Parameters
from itm.data.archives import Archive
from itm.data.layout import SPLITS
from itm.data.readers.base import CAPTION_COLUMNS, IMAGE_COLUMNS, QUARANTINE_COLUMNS, RawData, need
from itm.data.readers.cxc import read_ratings
from itm.data.readers.hierarcaps import CHAINS, photo_id, read_chains
from itm.errors import DataError, first_few

SPLITS_FILE = "caption_datasets.zip"
PHOTOS = {"coco": ("train2014.zip", "val2014.zip"), "flickr30k": ("flickr30k-images.tar.gz",)}
CAPTIONS_AN_IMAGE = 5
_SPLIT = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """Captions and photos in the order of the JSON; with COCO its ratings and chains, as far as they are listed."""
    options: KarpathyParameters = getattr(parameters.datasets, name)
    file = f"dataset_{name}.json"
    records = _records(need(raw, SPLITS_FILE), file)
    photos: dict[str, tuple[str, str]] = {}
    for archive in PHOTOS[name]:
        with Archive(need(raw, archive)) as opened:
            photos |= {member.rsplit("/", 1)[-1]: (archive, member) for member in opened.names()}
    images: list[tuple[str, ...]] = []
    captions: list[tuple[Any, ...]] = []
    extra: list[tuple[Any, ...]] = []
    unused = 0
    for split in SPLITS:
        for row, record in enumerate(records, start=1):
            if _SPLIT[record["split"]] != split:
                continue
            if record["split"] == "restval" and not options.restval:
                unused += 1
                continue
            stem = Path(record["filename"]).stem
            archive, member = photos.get(record["filename"], (PHOTOS[name][-1], ""))
            images.append((stem, split, name, archive, member))
            for position, sentence in enumerate(record["sentences"]):
                text = sentence["raw"]
                if split != "train" and options.captions == "five" and position >= CAPTIONS_AN_IMAGE:
                    extra.append((file, row, "extra-caption", text, stem))
                else:
                    captions.append((sentence["sentid"], stem, split, position, text, -1, -1, file, row))
    image_table = pd.DataFrame(images, columns=list(IMAGE_COLUMNS))
    found = RawData(
        pd.DataFrame(captions, columns=list(CAPTION_COLUMNS)),
        image_table,
        rejected=pd.DataFrame(extra, columns=list(QUARANTINE_COLUMNS)),
        notes={"restval_images_not_used": unused, "photos_in_no_split": len(photos) - len(image_table) - unused},
    )
    if name == "coco":
        _add_benchmarks(found, raw, parameters.data.files)
    return found


def _add_benchmarks(found: RawData, raw: Path, files: list[str]) -> None:
    """Ratings and chains, and which of their photos the training split holds too."""
    split_of = dict(zip(found.images["image_id"], found.images["split"], strict=True))
    found.ratings = read_ratings(raw, files)
    if CHAINS in files:
        chains, photos = read_chains(raw)
        found.hierarchies = chains
        trained = {photo_id(image[-12:]) for image, split in split_of.items() if split == "train"}
        found.shared_by_name["hierarcaps"] = sorted(set(photos["image_id"]) & trained)
        found.images = pd.concat([found.images, photos], ignore_index=True)


def _records(path: Path, file: str) -> list[dict[str, Any]]:
    """The `images` of one of the JSON files in the archive, each with the keys and types that are needed."""
    with Archive(path) as archive:
        member = next((name for name in archive.names() if name.rsplit("/", 1)[-1] == file), None)
        if member is None:
            raise DataError(
                f"{path}: has no {file} (has: {first_few(archive.names(), limit=8)})", reason="missing-member"
            )
        content = archive.read(member)
    try:
        records = json.loads(content)["images"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: {file} is not JSON with `images` ({error!r})", reason="form") from None
    wrong = [f"image {row}: {fault}" for row, record in enumerate(records, start=1) if (fault := _fault(record))]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} images of {file} are not of their form: {first_few(wrong)}", reason="form"
        )
    checked: list[dict[str, Any]] = records
    return checked


def _fault(record: Any) -> str:
    if not isinstance(record, dict):
        return f"is {type(record).__name__}, not an object"
    missing = [key for key in ("filename", "split", "sentences") if key not in record]
    if missing:
        return f"has no {', '.join(missing)}"
    if record["split"] not in _SPLIT:
        return f"split {record['split']!r} is none of {', '.join(_SPLIT)}"
    if not isinstance(record["filename"], str) or not record["filename"]:
        return f"filename {record['filename']!r} is no name"
    sentences = record["sentences"]
    if not isinstance(sentences, list) or not sentences:
        return "has no sentences"
    for sentence in sentences:
        if not isinstance(sentence, dict) or not isinstance(sentence.get("raw"), str):
            return "a sentence has no text `raw`"
        if type(sentence.get("sentid")) is not int:
            return f"sentid {sentence.get('sentid')!r} is no whole number"
    return ""
