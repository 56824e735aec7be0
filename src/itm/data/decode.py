"""Encoded images -> pixels: libjpeg-turbo for JPEG, Pillow for the rest; and what a file says before decoding."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

MAXIMUM_PIXELS = 100_000_000
"""An image larger than this is a decompression bomb or a mistake; the largest photo of COCO has 0.41 million."""

PLAIN = frozenset({("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L")})
"""Formats and modes that every decoder reads in the same way; everything else is rewritten by the clean stage."""

_ORIENTATION = 0x0112
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Header:
    """What an image file says of itself. orientation is EXIF's, 1 = upright."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int = 1

    @property
    def plain(self) -> bool:
        """Whether the file can be stored as it is."""
        return (self.format, self.mode) in PLAIN and self.orientation == 1


def read_header(content: bytes) -> Header:
    """The header of an encoded image; a JPEG's pixels are not decoded.

    Raises:
        DataError: empty ("empty-image"), no image ("not-an-image"), or more than MAXIMUM_PIXELS ("too-many-pixels").
    """
    image = _open(content)
    return _header(image, _orientation(image))


def examine(content: bytes) -> tuple[Header, Pixels]:
    """The header of an encoded image and its pixels, decoded whole.

    Raises:
        DataError: as `read_header`; or the file is cut or damaged ("damaged-image").
    """
    image = _open(content)
    if content.startswith(_JPEG):
        return _header(image, _orientation(image)), decode(content)
    try:
        image.load()
        pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's plug-ins raise many kinds
        raise DataError(f"damaged image ({_short(error)})", reason="damaged-image") from None
    return _header(image, _orientation(image)), pixels


def _open(content: bytes) -> Any:
    from PIL import Image

    if not content:
        raise DataError("the file is empty", reason="empty-image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise DataError(f"more than {MAXIMUM_PIXELS} pixels", reason="too-many-pixels") from None
    except Exception as error:  # as above
        raise DataError(f"no image that Pillow knows ({_short(error)})", reason="not-an-image") from None
    width, height = image.size
    if width * height > MAXIMUM_PIXELS:
        raise DataError(f"{width} x {height}: more than {MAXIMUM_PIXELS} pixels", reason="too-many-pixels")
    return image


def _orientation(image: Any) -> int:
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing
        return 1
    return value if 1 <= value <= 8 else 1


def _header(image: Any, orientation: int) -> Header:
    width, height = image.size
    return Header(str(image.format), image.mode, width, height, orientation)


def decode(content: bytes, at_least: int = 0) -> Pixels:
    """The pixels (height, width, 3) uint8 of an encoded image, greyscale repeated over the channels.

    Args:
        at_least: shrink a JPEG while decoding (to 1/2, 1/4 or 1/8 of its size) as long as its shorter side stays at
            least this long; 0 = full size. Other fractions would take longer than the full size.

    Raises:
        DataError: the file is cut or damaged; reason "damaged-image".
    """
    if content.startswith(_JPEG):
        import simplejpeg

        try:
            factor = 2.0 if at_least else 1.0
            pixels: Pixels = simplejpeg.decode_jpeg(
                content, "RGB", min_height=at_least, min_width=at_least, min_factor=factor
            )
            return pixels
        except ValueError as error:
            raise DataError(f"damaged image ({_short(error)})", reason="damaged-image") from None
    return np.asarray(open_whole(content).convert("RGB"))


def open_whole(content: bytes) -> Image:
    """The decoded image as Pillow sees it, upright.

    Raises:
        DataError: the file is cut or damaged; reason "damaged-image".
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            image.load()
            return ImageOps.exif_transpose(image)
    except Exception as error:  # as above: any kind of error means that the pixels cannot be had
        raise DataError(f"damaged image ({_short(error)})", reason="damaged-image") from None


def rewrite(content: bytes) -> tuple[bytes, Header]:
    """The image upright, in RGB on white, as a file that every decoder reads alike: JPEG stays JPEG, all else PNG.

    Raises:
        DataError: as `open_whole`.
    """
    from PIL import Image

    image: Any = open_whole(content)
    was_jpeg = content.startswith(_JPEG)
    if image.mode in ("RGBA", "LA", "PA", "P"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        scale = 257.0 if image.mode != "I" or image.getextrema()[1] > 255 else 1.0
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / scale).clip(0, 255).astype(np.uint8))
    image = image.convert("L" if image.mode == "L" else "RGB")
    stored = io.BytesIO()
    if was_jpeg:
        image.save(stored, "JPEG", quality=95, subsampling=0)
    else:
        image.save(stored, "PNG")
    return stored.getvalue(), Header("JPEG" if was_jpeg else "PNG", image.mode, *image.size)


def shrink(content: bytes, side: int) -> tuple[bytes, Header]:
    """The image with a shorter side of `side`, as JPEG; it is never enlarged.

    Raises:
        DataError: as `open_whole`.
    """
    from PIL import Image

    image = open_whole(content)
    factor = side / min(image.size)
    if factor < 1:
        size = (max(side, round(image.width * factor)), max(side, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=90)
    return stored.getvalue(), Header("JPEG", image.mode, *image.size)


def fit(pixels: Pixels, size: int) -> Pixels:
    """(size, size, 3) pixels: the centre square of the image, resized (bicubic, antialiased)."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    if height == width == size:
        return pixels
    from PIL import Image

    left, top = (width - side) / 2, (height - side) / 2
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ").replace("\n", " ")[:120]
