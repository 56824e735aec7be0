"""Photos that somebody drops on the page: checked before they are decoded."""

from __future__ import annotations

import warnings
from io import BytesIO

from itm.data.decode import read_header, shrink
from itm.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
LARGEST_PIXELS = 64_000_000
SIDE = 320
"""Shorter side in pixels of what the page shows."""


def check_photo(content: bytes) -> None:
    """Refuse what is no photo, by its header: nothing is decoded.

    Formats are few on purpose: others (EPS, for one) start programs when they are decoded.

    Raises:
        DataError: empty, not an image, of another format ("not-an-image"), or of too many pixels ("too-many-pixels").
    """
    from PIL import Image

    if not content:
        raise DataError("the file is empty", reason="empty-image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(BytesIO(content), formats=FORMATS)
        width, height = image.size
    except Image.DecompressionBombError:
        raise DataError(_many("the photo has far"), reason="too-many-pixels") from None
    except Exception:  # Pillow's plug-ins raise many kinds
        raise DataError(
            f"this is no photo that can be read; known formats: {', '.join(FORMATS)}", reason="not-an-image"
        ) from None
    if width * height > LARGEST_PIXELS:
        raise DataError(_many(f"the photo has {width:,} x {height:,} pixels,"), reason="too-many-pixels")
    read_header(content)


def thumbnail(content: bytes) -> bytes:
    """A JPEG of an image for the page, its shorter side at most `SIDE` pixels.

    Raises:
        DataError: the image is damaged.
    """
    return shrink(content, SIDE)[0]


def _many(start: str) -> str:
    return f"{start} more than {LARGEST_PIXELS // 10**6} megapixels; make it smaller first"
