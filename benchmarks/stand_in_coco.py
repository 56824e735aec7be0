"""Source files of COCO's form in any number: Karpathy's JSON, and photos of random colours in zips."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

IMAGES, CAPTIONS = 123_287, 616_767
SHARES = {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000}
"""COCO 2014 and Karpathy's splits of it."""
CELL = 8
"""Pixels along a side of a spot of one colour: a file has then about as many bytes a pixel as COCO's have."""


def write_stand_in(folder: Path, images: int, texts: int, size: tuple[int, int]) -> dict[str, int]:
    """Write a mirror folder and the catalogue that names it; the bytes of the source files by name.

    The first `train` photos are in train2014.zip, the others in val2014.zip. An image has as many captions as there
    are for all alike, training images what is left over; COCO's splits keep their shares.
    """
    (folder / "mirror").mkdir(parents=True)
    splits = _splits(images)
    names = [
        f"COCO_{'train' if split == 'train' else 'val'}2014_{row + 1:012d}.jpg" for row, split in enumerate(splits)
    ]
    photos = _photos(images, size)
    for archive in ("train2014", "val2014"):
        with zipfile.ZipFile(folder / f"mirror/{archive}.zip", "w") as opened:
            for name in names:
                if archive in name:
                    opened.writestr(f"{archive}/{name}", next(photos))
    with (
        zipfile.ZipFile(folder / "mirror/caption_datasets.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened,
        opened.open("dataset_coco.json", "w", force_zip64=True) as file,
    ):
        file.write(b'{"images": [')
        for row, record in enumerate(_records(names, splits, texts)):
            file.write((", " if row else "").encode() + json.dumps(record).encode())
        file.write(b'], "dataset": "coco"}')
    files = sorted((folder / "mirror").iterdir())
    entries = [
        f"    {file.name}: {{mirror: [{{path: {file.name}, bytes: {file.stat().st_size}, sha256: {_sha256(file)}}}]}}"
        for file in files
    ]
    (folder / "catalogue.yaml").write_text("coco:\n  files:\n" + "\n".join(entries) + "\n", encoding="utf-8")
    return {file.name: file.stat().st_size for file in files}


def _splits(images: int) -> list[str]:
    ends = np.cumsum([round(images * share / IMAGES) for share in SHARES.values()])
    ends[-1] = images
    return [list(SHARES)[place] for place in np.searchsorted(ends, np.arange(images), side="right")]


def _records(names: list[str], splits: list[str], texts: int) -> Iterator[dict[str, object]]:
    from generated_captions import captions

    each, more = divmod(texts, len(names))
    made = (text.as_py() for part in captions(texts).chunks for text in part)
    number = 0
    for row, (name, split) in enumerate(zip(names, splits, strict=True)):
        sentences = []
        for _ in range(each + (row < more)):
            raw = next(made)
            tokens = raw.lower().rstrip(".").split()
            sentences.append({"tokens": tokens, "raw": raw, "imgid": row, "sentid": number})
            number += 1
        yield {
            "filepath": "train2014" if split == "train" else "val2014",
            "sentids": [sentence["sentid"] for sentence in sentences],
            "filename": name,
            "imgid": row,
            "split": split,
            "sentences": sentences,
            "cocoid": row + 1,
        }


def _photos(count: int, size: tuple[int, int]) -> Iterator[bytes]:
    """JPEG files of `size` (width, height): smooth fields of random colours."""
    from PIL import Image

    rng = np.random.default_rng(0)
    width, height = size
    for _ in range(count):
        image = Image.fromarray(rng.integers(0, 256, (height // CELL, width // CELL, 3), np.uint8))
        file = io.BytesIO()
        image.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        yield file.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
