"""A scene as a picture: anti-aliased objects, a lit background, and nuisance that no caption speaks of.

Shapes are drawn by Pillow at several times the size and averaged down; light and noise are sums and products of
float32 numbers and whole numbers, so that pixels do not depend on the machine.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from itm.data.scenes.chance import Use, generator
from itm.data.scenes.generate import RADIUS
from itm.data.scenes.records import SCALE, Item, Scene

#: Every colour is brighter than every background: one kind of edge then shows a shape, whatever the colours.
PAINT = {
    "red": (245, 66, 66),
    "orange": (252, 146, 36),
    "yellow": (250, 230, 56),
    "green": (60, 204, 88),
    "blue": (76, 134, 255),
    "purple": (192, 96, 240),
    "white": (250, 250, 250),
}
GROUND = {"black": 14, "grey": 74}

#: Stripes and dots are this much of their object's colour.
_INK = 0.4
#: Sub-pixels along each axis of a pixel.
_FINE = 4
#: Turning range in degrees to either side; a shape that looks the same when turned by less turns less.
_TURN = {"circle": 0.0, "square": 10.0, "triangle": 12.0, "star": 12.0, "cross": 10.0, "heart": 12.0}
#: Distance of a shape's corners, as a share of the radius that belongs to its size: sizes should look alike.
_REACH = {"circle": 0.88, "square": 1.04, "triangle": 1.1, "star": 1.1, "cross": 1.04, "heart": 0.95}
#: Stripes and dots end here: a rim of paint keeps the outline of the shape whole.
_INNER = 0.82
#: Dots lie on a triangular lattice; these fill a circle of twice the lattice spacing.
_SPOTS = tuple(
    (column + 0.5 * (row % 2), row * 0.87)
    for row in range(-2, 3)
    for column in range(-2, 3)
    if (column + 0.5 * (row % 2)) ** 2 + (row * 0.87) ** 2 < 3.5
)
#: Brightness is kept to multiples of this: invisible under the noise, and a third fewer bytes.
_STEP = 4


def render(scene: Scene, size: int, noise: float, seed: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 The scene as RGB pixels; `noise` is the standard deviation as a share of the range.

    Size, turn, tint and contrast of every object, the tint of the background, the light and the noise vary; they
    come from a generator of their own, a child of `seed` for this scene.
    """
    index = int(scene.image_id.rsplit("-", 1)[1])
    rng = generator(seed, Use.PICTURE, scene.split, index)
    vary = rng.random(8)
    ground = GROUND[scene.background] + 20.0 * (vary[0] - 0.5)
    picture = Image.new("RGB", (size, size), _tinted((ground, ground, ground), vary[1:4], 16.0))
    for item in scene.items:
        _draw(picture, item, size, rng.random(6))
    return _photograph(np.asarray(picture), vary[4:], noise, rng)


def _draw(picture: Image.Image, item: Item, size: int, vary: NDArray[np.float64]) -> None:
    unit = size * _FINE / SCALE
    radius = RADIUS[item.size] * unit * (0.95 + 0.08 * vary[0])
    half = math.ceil(radius * 1.14 / _FINE) + 1
    left, top = int(item.x * size / SCALE) - half, int(item.y * size / SCALE) - half
    centre = (item.x * unit - left * _FINE, item.y * unit - top * _FINE)
    turn = math.radians(_TURN[item.shape] * (2 * vary[1] - 1))
    side = (2 * half + 1) * _FINE
    paint = _tinted(PAINT[item.colour], vary[2:5], 24.0)
    reach = radius * _REACH[item.shape]
    _paste(picture, paint, _shape(item.shape, side, centre, reach, turn), (left, top))
    if item.texture != "solid":
        ink = tuple(int(_INK * channel) for channel in paint)
        # Aslant, since a stripe along an arm of a cross would not look like one.
        pattern = _pattern(item.texture, side, centre, radius, turn + 0.4 + 0.8 * vary[5])
        inner = _shape(item.shape, side, centre, reach * _INNER, turn)
        _paste(picture, ink, ImageChops.darker(inner, pattern), (left, top))


def _paste(picture: Image.Image, paint: tuple[int, ...], mask: Image.Image, corner: tuple[int, int]) -> None:
    small = mask.reduce(_FINE)
    picture.paste(paint, (*corner, corner[0] + small.width, corner[1] + small.height), small)


def _shape(shape: str, side: int, centre: tuple[float, float], radius: float, turn: float) -> Image.Image:
    """A mask of the shape."""
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    if shape == "circle":
        _disc(draw, (round(centre[0]), round(centre[1])), round(radius))
    else:
        draw.polygon(_turned(_corners(shape), centre, radius, turn), fill=255)
    return mask


def _pattern(texture: str, side: int, centre: tuple[float, float], radius: float, turn: float) -> Image.Image:
    """A mask of stripes or dots around the centre, about four across whatever the size."""
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    if texture == "striped":
        pitch, far = 0.44 * radius, 1.3 * radius
        for step in range(-2, 3):
            low, high = (step - 0.25) * pitch, (step + 0.25) * pitch
            draw.polygon(_turned(((-far, low), (far, low), (far, high), (-far, high)), centre, 1.0, turn), fill=255)
        return mask
    pitch = 0.52 * radius
    for spot in _turned(_SPOTS, centre, pitch, turn):
        _disc(draw, spot, round(0.3 * pitch))
    return mask


def _disc(draw: ImageDraw.ImageDraw, centre: tuple[int, int], radius: int) -> None:
    x, y = centre
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)


def _turned(
    points: tuple[tuple[float, float], ...], centre: tuple[float, float], scale: float, turn: float
) -> list[tuple[int, int]]:
    """The points turned, scaled and moved, on whole sub-pixels: rounding hides the last digit of sine and cosine."""
    along, across = scale * math.cos(turn), scale * math.sin(turn)
    return [(round(centre[0] + x * along - y * across), round(centre[1] + x * across + y * along)) for x, y in points]


@cache
def _corners(shape: str) -> tuple[tuple[float, float], ...]:
    """The corners of a shape within the unit circle, y downwards."""
    if shape == "square":
        return ((-0.71, -0.71), (0.71, -0.71), (0.71, 0.71), (-0.71, 0.71))
    if shape == "triangle":
        return ((0.0, -1.0), (0.866, 0.5), (-0.866, 0.5))
    if shape == "cross":
        arm, end = 0.24, 0.97
        quarter = ((arm, -end), (arm, -arm), (end, -arm))
        turns = ((1, 0), (0, 1), (-1, 0), (0, -1))
        return tuple((x * a - y * b, x * b + y * a) for a, b in turns for x, y in quarter)
    if shape == "star":
        return tuple(
            (reach * math.sin(math.pi * k / 5), -reach * math.cos(math.pi * k / 5))
            for k in range(10)
            for reach in (0.38 if k % 2 else 1.0,)
        )
    steps = [2 * math.pi * k / 24 for k in range(24)]
    return tuple(
        (
            math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16 - 0.05,
        )
        for t in steps
    )


def _tinted(paint: tuple[float, float, float], vary: NDArray[np.float64], strength: float) -> tuple[int, int, int]:
    red, green, blue = (
        min(255, max(0, int(channel + strength * (shift - 0.5)))) for channel, shift in zip(paint, vary, strict=True)
    )
    return red, green, blue


def _photograph(
    pixels: NDArray[np.uint8], vary: NDArray[np.float64], noise: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The pixels under a light that falls off to one side, with noise (the sum of four even draws) and rounding."""
    size = len(pixels)
    slope = (np.arange(size, dtype=np.float32) * 2 + 1 - size) / np.float32(size)
    light = (
        np.float32(0.9 + 0.2 * vary[0])
        + np.float32(0.3 * (vary[1] - 0.5)) * slope[None, :]
        + np.float32(0.3 * (vary[2] - 0.5)) * slope[:, None]
    )
    lit = pixels * light[:, :, None]
    if noise > 0:
        grains = np.frombuffer(rng.bytes(4 * pixels.size), dtype=np.uint8).reshape(4, *pixels.shape)
        total = grains.sum(axis=0, dtype=np.uint16).astype(np.float32)
        lit += (total - np.float32(510)) * np.float32(noise * 255 / math.sqrt(4 * (256**2 - 1) / 12))
    lit += _STEP // 2
    np.clip(lit, 0, 255, out=lit)
    return lit.astype(np.uint8) // _STEP * _STEP
