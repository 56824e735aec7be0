"""The built-in data set: its logical tables are exact, so that only names and sources are added here."""

from __future__ import annotations

from pathlib import Path

from itm.config.parameters import Parameters
from itm.data.readers.base import CAPTION_COLUMNS, IMAGE_COLUMNS, RawData, need

SCENES, PICTURES = "scenes.jsonl", "scenes-images.tar"


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """The tables of scenes.jsonl; each caption's row is the line of its scene."""
    from itm.data.scenes import tables

    found = tables(need(raw, SCENES), parameters.datasets.scenes.seed)
    need(raw, PICTURES)
    images = found.images.assign(
        source="scenes", archive=PICTURES, member=found.images["image_id"].astype(str) + ".png"
    )
    line = {image: number for number, image in enumerate(images["image_id"], start=1)}
    captions = found.captions.rename(columns={"text": "raw_text"})
    captions["source"] = SCENES
    captions["row"] = captions["image_id"].map(line)
    notes = {"held_out_images": int(found.images["held_out"].sum())}
    return RawData(
        captions[list(CAPTION_COLUMNS)],
        images[list(IMAGE_COLUMNS)],
        found.hierarchies,
        found.ratings,
        found.truth,
        notes=notes,
    )
