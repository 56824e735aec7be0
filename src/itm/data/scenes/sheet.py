"""A contact sheet: pictures with their captions, to judge by eye whether the data set is clear."""

from __future__ import annotations

import textwrap
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from itm.config.data import ScenesParameters
from itm.data.files import atomic_path
from itm.data.scenes.generate import scenes
from itm.data.scenes.render import render

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
