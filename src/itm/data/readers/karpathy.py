"""COCO 2014 and Flickr30K with the splits of Karpathy and Fei-Fei (CVPR 2015), and data sets published in that form.

For COCO a caption's id is its COCO annotation id, which is what the JSON calls `sentid`; Crisscrossed Captions and
ECCV Caption name captions by it. `restval` images are those of COCO val that are in neither dev nor test; all
published numbers train on them. RSICD and RSITMD (remote sensing) have JSON files of the same form; nothing names
their captions, so that these are numbered here. RSITMD has no dev split: it is cut from train.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from itm.config.data import KarpathyParameters, RemoteSensingParameters
from itm.config.parameters import Parameters
from itm.data.annotations import content_of, karpathy_records
from itm.data.archives import Archive
from itm.data.layout import SPLITS
from itm.data.readers.base import (
    CAPTION_COLUMNS,
    CAPTIONS_AN_IMAGE,
    IMAGE_COLUMNS,
    QUARANTINE_COLUMNS,
    RawData,
    need,
)
from itm.data.readers.cxc import read_ratings
from itm.data.readers.hierarcaps import CHAINS, photo_id, read_chains
from itm.errors import DataError


@dataclass(frozen=True)
class Layout:
    """Where a data set's records and photos lie.

    Attributes:
        source: the source file with the records: the JSON itself, or an archive that holds it.
        file: the JSON's name.
        photos: the archives with the photos, found by their names in whatever folder.
        numbered: captions have no ids that others refer to, and get their numbers in the file.
    """

    source: str
    file: str
    photos: tuple[str, ...]
    numbered: bool = False


LAYOUTS = {
    "coco": Layout("caption_datasets.zip", "dataset_coco.json", ("train2014.zip", "val2014.zip")),
    "flickr30k": Layout("caption_datasets.zip", "dataset_flickr30k.json", ("flickr30k-images.tar.gz",)),
    "rsicd": Layout("dataset_rsicd.json", "dataset_rsicd.json", ("RSICD_images.zip",), numbered=True),
    "rsitmd": Layout("RSITMD.zip", "dataset_RSITMD.json", ("RSITMD.zip",), numbered=True),
}
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_SPLIT = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """Captions and photos in the order of the JSON; with COCO its ratings and chains, as far as they are listed."""
    options: KarpathyParameters | RemoteSensingParameters = getattr(parameters.datasets, name)
    layout = LAYOUTS[name]
    file = layout.file
    records = _records(need(raw, layout.source), layout)
    if isinstance(options, RemoteSensingParameters):
        records = _with_dev(records, options.dev_images, file)
    restval = isinstance(options, KarpathyParameters) and options.restval
    photos: dict[str, tuple[str, str]] = {}
    wanted = {record["filename"] for record in records}
    for archive in layout.photos:
        with Archive(need(raw, archive)) as opened:
            photos |= photos_by_name(opened, wanted)
    images: list[tuple[str, ...]] = []
    captions: list[tuple[Any, ...]] = []
    extra: list[tuple[Any, ...]] = []
    unused = 0
    for split in SPLITS:
        for row, record in enumerate(records, start=1):
            if _SPLIT[record["split"]] != split:
                continue
            if record["split"] == "restval" and not restval:
                unused += 1
                continue
            stem = Path(record["filename"]).stem
            archive, member = photos.get(record["filename"], (layout.photos[-1], ""))
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


def photos_by_name(archive: Archive, wanted: Container[str]) -> dict[str, tuple[str, str]]:
    """Archive and member of each photo by its name; what is no photo is left out (also the notes that macOS adds).

    Raises:
        DataError: a wanted photo is there twice, with different bytes.
    """
    return {
        name: (archive.path.name, member)
        for name, member in archive.by_name(wanted).items()
        if name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith("._")
    }


def _with_dev(records: list[dict[str, Any]], count: int, file: str) -> list[dict[str, Any]]:
    """The records with `count` training images as dev, the first by sha256 of their names; 0 = those of the file.

    A hash instead of a random generator: the choice depends on no library's version.
    """
    own = sum(record["split"] == "val" for record in records)
    names = [record["filename"] for record in records if record["split"] == "train"]
    if bool(own) == bool(count):
        state = f"{own} images are in `val`" if own else "no image is in `val`"
        wanted = "set it to 0" if own else "say how many training images to set aside"
        raise DataError(f"{file}: {state}, and dev_images is {count}; {wanted}", reason="dev-split")
    if count >= max(len(names), 1):
        raise DataError(
            f"{file}: dev_images is {count}, but only {len(names)} images are in `train`; set aside fewer",
            reason="dev-split",
        )
    chosen = set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])
    return [{**record, "split": "val"} if record["filename"] in chosen else record for record in records]


def _records(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """The `images` of the data set's JSON file, each sentence with its id."""
    content = content_of(path, layout.file)
    records = karpathy_records(content, f"{path}: {layout.file}", layout.file, numbered=layout.numbered)
    if layout.numbered:
        numbers = iter(range(sum(len(record["sentences"]) for record in records)))
        for record in records:
            record["sentences"] = [{**sentence, "sentid": next(numbers)} for sentence in record["sentences"]]
    return records
