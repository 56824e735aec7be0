"""Arrays of the authors of VSD as descriptions: vectors without texts, one row a caption in SCAN's order.

Their folder holds, for a split, `<split>_caps.txt` (a caption a line), `<split>_aux_cap_*.npy` (vectors of
descriptions, one row a caption) and `<split>_cap_bge*.npy` (vectors of the captions themselves). Captions of an image
follow each other, five by rule. The order of images is that of the split file that SCAN used, which need not be that
of our tables: an image is found by its captions' texts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from itm.data.files import atomic_path, read_npy, readable, write_json
from itm.data.layout import DESCRIPTIONS, SPLITS
from itm.descriptions.records import Description, write_descriptions
from itm.errors import DataError, first_few

Floats = NDArray[np.float32]
NAMES = {"train": ("train",), "dev": ("dev",), "test": ("testall", "test")}
"""What the authors' files call a split of ours."""
_MOST = 127


@dataclass
class Imported:
    """What came over: images and captions by split, and how many of the tables' images are without."""

    images: dict[str, int]
    captions: int
    missing: dict[str, int]
    width: int


def import_arrays(
    folder: Path, captions: pd.DataFrame, out: Path, variant: str = "", an_image: int = 5, condition: str = ""
) -> Imported:
    """Write descriptions.jsonl (without texts), descriptions.npy and captions.npy with their ids into `out`.

    Rows of an image whose vectors are equal are one description; others stay apart, in their order.

    Args:
        captions: the table of `itm.data.tables.read_captions`.
        variant: text that the name of the descriptions' file must contain, where a split has several.
        an_image: captions of an image in the arrays.
        condition: what training descriptions were written from; '' = gt_caption, as published. Descriptions of other
            splits count as written from a generated caption.

    Raises:
        DataError: no split is there; files of a split are missing, ambiguous or of unequal length; vectors differ in
            width or are not finite; or images cannot be told by their captions.
    """
    descriptions: list[Description] = []
    vectors: list[Floats] = []
    of_captions: list[Floats] = []
    caption_ids: list[int] = []
    counts: dict[str, int] = {}
    for split in SPLITS:
        name = next((name for name in NAMES[split] if (folder / f"{name}_caps.txt").is_file()), None)
        if name is None:
            continue
        with readable(path := folder / f"{name}_caps.txt", "give the file in UTF-8"):
            texts = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
        described = _array(folder, f"{name}_aux_cap_*.npy", variant, len(texts))
        if len(texts) % an_image:
            raise DataError(
                f"{folder}/{name}_caps.txt: {len(texts)} captions are no multiple of {an_image}", reason="rows"
            )
        table = captions[captions["split"] == split]
        owners = _owners(texts, table, an_image, f"{folder}/{name}_caps.txt")
        counts[split] = len(owners)
        for place, image_id in enumerate(owners):
            rows = described[place * an_image : (place + 1) * an_image]
            different = [row for at, row in enumerate(rows) if not any(np.array_equal(row, was) for was in rows[:at])]
            told = (condition or "gt_caption") if split == "train" else "generated_caption"
            for number, row in enumerate(different[: _MOST + 1]):
                descriptions.append(Description(image_id, split, number, None, "vsd-arrays", variant, told))
                vectors.append(row)
        if list(folder.glob(f"{name}_cap_*.npy")):
            found = _array(folder, f"{name}_cap_*.npy", "", len(texts))
            ids = _caption_ids(texts, owners, table, an_image)
            of_captions += [found[row] for row, caption in enumerate(ids) if caption is not None]
            caption_ids += [caption for caption in ids if caption is not None]
    if not counts:
        raise DataError(
            f"{folder}: no train_caps.txt, dev_caps.txt, test_caps.txt or testall_caps.txt; give the folder of the "
            "authors' precomputed arrays",
            reason="missing-file",
        )
    widths = Counter(len(row) for row in (*vectors, *of_captions))
    if len(widths) > 1:
        raise DataError(f"{folder}: vectors of different widths ({first_few(sorted(widths))})", reason="width")
    write_descriptions(out / DESCRIPTIONS, descriptions)
    _write(out / "descriptions.npy", vectors, [[one.image_id, one.desc_id] for one in descriptions])
    if of_captions:
        _write(out / "captions.npy", of_captions, caption_ids)
    images = captions.groupby("split")["image_id"].nunique()
    missing = {split: int(images.get(split, 0)) - counts.get(split, 0) for split in SPLITS}
    return Imported(counts, len(caption_ids), missing, next(iter(widths)))


def _array(folder: Path, pattern: str, variant: str, rows: int) -> Floats:
    """The one array whose name fits."""
    found = sorted(path for path in folder.glob(pattern) if variant in path.name)
    if len(found) != 1:
        names = first_few(path.name for path in found) or "none"
        raise DataError(
            f"{folder}: {len(found)} files {pattern} with '{variant}' in their name ({names}); choose one by --variant",
            reason="ambiguous" if found else "missing-file",
        )
    with readable(found[0], "give the authors' array of numbers"):
        values = read_npy(found[0])
        values = values.astype(np.float64 if values.dtype == np.float64 else np.float32)
    if values.ndim != 2 or len(values) != rows:
        raise DataError(f"{found[0]}: {values.shape} for {rows} captions, one row each", reason="rows")
    bad = int((~np.isfinite(values).all(1)).sum())
    if bad:
        raise DataError(f"{found[0]}: {bad} rows hold values that are not finite", reason="not-finite")
    found_values: Floats = values.astype(np.float32)
    return found_values


def _plain(text: str) -> str:
    """A caption without case, punctuation and blanks, which the copies of a data set differ in.

    >>> _plain("A dog's  ball .") == _plain("a dogs ball")
    True
    """
    return re.sub(r"[^0-9a-z]+", "", text.lower())


def _owners(texts: Sequence[str], table: pd.DataFrame, an_image: int, where: str) -> list[str]:
    """The image of each group of captions: the one that has most of them; every image once."""
    known: dict[str, set[str]] = {}
    for image_id, text in zip(table["image_id"], table["raw_text"], strict=True):
        known.setdefault(_plain(text), set()).add(image_id)
    owners: list[str] = []
    lost: list[str] = []
    for start in range(0, len(texts), an_image):
        votes = Counter(image for text in texts[start : start + an_image] for image in known.get(_plain(text), ()))
        best = votes.most_common(2)
        if not best or (len(best) == 2 and best[0][1] == best[1][1]):
            lost.append(f"lines {start + 1} to {start + an_image}: {texts[start]!r}")
        else:
            owners.append(best[0][0])
    if lost:
        raise DataError(
            f"{where}: {len(lost)} images cannot be told by their captions ({first_few(lost)}); are the tables of the "
            "same data set and split file?",
            reason="unknown-captions",
        )
    twice = [image for image, count in Counter(owners).items() if count > 1]
    if twice:
        raise DataError(f"{where}: {len(twice)} images come more than once ({first_few(twice)})", reason="twice")
    return owners


def _caption_ids(texts: Sequence[str], owners: Sequence[str], table: pd.DataFrame, an_image: int) -> list[int | None]:
    """The caption of our tables that each line is, None where cleaning left it out."""
    ids: dict[tuple[str, str], list[int]] = {}
    for image_id, text, caption in zip(table["image_id"], table["raw_text"], table["caption_id"], strict=True):
        ids.setdefault((image_id, _plain(text)), []).append(int(caption))
    found: list[int | None] = []
    for row, text in enumerate(texts):
        left = ids.get((owners[row // an_image], _plain(text)), [])
        found.append(left.pop(0) if left else None)
    return found


def _write(path: Path, vectors: Sequence[Floats], ids: Sequence[Any]) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, np.stack(vectors).astype(np.float16))
    write_json(path.with_suffix(".ids.json"), json.loads(json.dumps(list(ids))))


app = typer.Typer(
    name="import",
    help="What others computed, as files of this project.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _import() -> None:
    """What others computed, as files of this project."""


@app.command("vsd-arrays")
def vsd_arrays(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the authors' arrays (train_caps.txt, *_aux_cap_*.npy ...).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for descriptions.jsonl and the vectors.")],
    clean: Annotated[Path, typer.Option(help="Folder of the clean tables.")] = Path("data/clean"),
    variant: Annotated[str, typer.Option(help="Part of the arrays' names, where there are several: cpm, flor.")] = "",
    an_image: Annotated[int, typer.Option(help="Captions of an image in the arrays.", min=1)] = 5,
    condition: Annotated[
        str, typer.Option(help="What training descriptions were written from, if not from the image's own captions.")
    ] = "",
) -> None:
    """Turn the arrays that the authors of VSD published into descriptions.

    Then set describe.captioner=file describe.file=OUT/descriptions.jsonl describe.encoder=file.
    """
    from itm.data.files import check_outputs
    from itm.data.tables import read_captions
    from itm.descriptions.arrays import import_arrays

    check_outputs(out / "descriptions.jsonl")
    columns = ["caption_id", "image_id", "split", "raw_text"]
    found = import_arrays(folder, read_captions(clean, columns), out, variant, an_image, condition)
    for split, count in found.images.items():
        typer.echo(f"{split}: {count} images, {found.missing[split]} of the tables are without")
    typer.echo(f"vectors of width {found.width}; {found.captions} captions have one of their own")
    if any(found.missing.values()):
        typer.echo("set describe.missing to 'zero' for the images without")
