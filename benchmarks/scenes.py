"""Time, size and make-up of the built-in data set at the parameters of params.yaml: the figures of docs/scenes.md.

python benchmarks/scenes.py [--sheet docs/images/scenes.png]
"""

from __future__ import annotations

import argparse
import tempfile
import textwrap
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import smoke
from PIL import Image, ImageDraw, ImageFont

from itm.config import load
from itm.config.data import ScenesParameters
from itm.data.files import atomic_path
from itm.data.scenes import tables, write_images, write_scenes
from itm.data.scenes.generate import scenes
from itm.data.scenes.render import render

Result = TypeVar("Result")


def timed(name: str, work: Callable[[], Result]) -> Result:
    begin = time.process_time()
    result = work()
    print(f"{name:34} {time.process_time() - begin:6.2f} s CPU")
    return result


_TEXT_WIDTH, _LINE, _BORDER = 420, 14, 10


def write_sheet(
    parameters: ScenesParameters,
    path: str | Path,
    *,
    rows: int = 6,
    columns: int = 2,
    split: str = "test",
    zoom: int = 2,
) -> None:
    """Write a PNG with the first scenes of a split, each with its captions and levels beside it."""
    side = parameters.image_size * zoom
    width, height = side + _TEXT_WIDTH + _BORDER, max(side, 9 * _LINE) + _BORDER
    sheet = Image.new("RGB", (columns * width + _BORDER, rows * height + _BORDER), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for index, shown in enumerate(islice(scenes(parameters, split), rows * columns)):
        left, top = _BORDER + index % columns * width, _BORDER + index // columns * height
        picture = Image.fromarray(render(shown, parameters.image_size, parameters.noise, parameters.seed))
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
        lines = [
            line
            for caption in shown.captions
            for line in textwrap.wrap(f"{caption.level}  {caption.text}", 76, subsequent_indent="    ")
        ]
        for number, line in enumerate(lines):
            draw.text((left + side + _BORDER, top + number * _LINE), line, fill="black", font=font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, optimize=True)


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--params", type=Path, default=Path("params.yaml"))
    found.add_argument("--sheet", type=Path, help="also write a contact sheet here")
    return found


def main() -> None:
    given = smoke.read(parser(), "--params {params} --sheet {scratch}/sheet.png")
    parameters = load(given.params).datasets.scenes
    with tempfile.TemporaryDirectory() as folder:
        logic, pictures = Path(folder, "scenes.jsonl"), Path(folder, "scenes-images.tar")
        timed("write_scenes", lambda: write_scenes(parameters, logic))
        timed("write_images", lambda: write_images(parameters, pictures))
        found = timed("tables (truth, ratings, checks)", lambda: tables(logic, parameters.seed))
        print(f"scenes.jsonl {logic.stat().st_size / 1e6:.1f} MB, pictures {pictures.stat().st_size / 1e6:.1f} MB")
    some = list(islice(scenes(parameters, "train", captions=False), 1000))
    timed(
        "render, 1,000 pictures",
        lambda: [render(scene, parameters.image_size, parameters.noise, parameters.seed) for scene in some],
    )
    captions = found.captions.assign(words=found.captions["text"].map(lambda text: len(text.split())))
    print(captions.groupby("level")["words"].agg(["mean", "max"]).round(1).to_string())
    test = captions[captions["split"] == "test"]
    print(test.groupby("level")["multiplicity"].agg(["mean", "median", "max"]).round(1).to_string())
    print(f"distinct texts {captions['text'].nunique()} of {len(captions)}; pairs that are true on test: ", end="")
    print(f"{(found.truth['test_grade'] == 5).mean():.2%}")
    print("distinct texts of chains by level:", found.hierarchies.groupby("level")["text"].nunique().to_dict())
    held_out = found.images.loc[found.images["split"] == "test", "held_out"]
    print(f"test images with a held-out combination: {held_out.mean():.1%}")
    print(found.ratings.groupby(["kind", "sampling"])["score"].agg(["size", "mean"]).round(2).to_string())
    if given.sheet:
        write_sheet(parameters, given.sheet, rows=5, columns=2)


if __name__ == "__main__":
    main()
