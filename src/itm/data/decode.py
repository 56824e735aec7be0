"""The one way from a photo's bytes to pixels, by libjpeg-turbo for plain JPEG and by Pillow for the rest.

Every door (the stages, `itm.load`, index, search, explore, transfer) comes through here, so that a photo has the same
pixels, and so the same vector, behind each of them: upright, in RGB, transparent parts white, 16 bits brought to 8.
What libjpeg only warns of (stray bytes, odd tables) is no fault; a JPEG that ends too soon is one behind each door.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

MAXIMUM_PIXELS = 100_000_000
"""An image larger than this is a decompression bomb or a mistake; the largest photo of COCO has 0.41 million."""

MAXIMUM_BYTES = 256 * 2**20
"""A file larger than this is no photo: it is refused before it is read."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What is decoded. Few on purpose: Pillow starts programs for some others (EPS)."""

_HEIC = ": HEIC, for which Pillow has no reader of its own: save it as JPEG"
_BRANDS = {b"heic": _HEIC, b"heix": _HEIC, b"mif1": _HEIC, b"avif": ": damaged, or AVIF, which needs Pillow 11.3"}

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
"""How names of such files end."""

PLAIN = frozenset({("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L")})
"""Formats and modes that every decoder reads in the same way; everything else is rewritten by the clean stage."""

_LONGEST_JPEG = 65_500
"""Pixels of a JPEG's longer side, by libjpeg."""

_ORIENTATION = 0x0112
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Header:
    """What an image file says of itself. orientation is EXIF's, 1 = upright; warned: libjpeg warns of its bytes."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int = 1
    warned: bool = False

    @property
    def plain(self) -> bool:
        """Whether the file can be stored as it is."""
        return (self.format, self.mode) in PLAIN and self.orientation == 1 and not self.warned


def read_photo(path: Path) -> bytes:
    """The bytes of a photo's file.

    Raises:
        DataError: it is missing or cannot be read ("missing-file"), or is too large for a photo ("too-many-bytes").
    """
    try:
        check_bytes(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", reason="missing-file") from None


def check_bytes(size: int) -> None:
    """Refuse a file that is too large for a photo, before it is read.

    Raises:
        DataError: more than MAXIMUM_BYTES ("too-many-bytes").
    """
    if size > MAXIMUM_BYTES:
        raise DataError(
            f"{size / 2**20:,.0f} MB, more than the {MAXIMUM_BYTES // 2**20} MB of any photo", reason="too-many-bytes"
        )


def read_header(content: bytes) -> Header:
    """The header of an encoded image; a JPEG's pixels are not decoded.

    Raises:
        DataError: empty ("empty-image"), no image ("not-an-image"), or more than MAXIMUM_PIXELS ("too-many-pixels").
    """
    image = _open(content)
    return _header(image, _orientation(image))


def examine(content: bytes) -> tuple[Header, Pixels]:
    """The header of a photo and its pixels, decoded whole.

    Raises:
        DataError: as `decode`.
    """
    header = read_header(content)
    pixels = _turbo(content) if header.plain and header.format == "JPEG" else None
    if pixels is not None:
        return header, pixels
    return replace(header, warned=header.plain and header.format == "JPEG"), np.asarray(picture(content))


def _open(content: bytes) -> Any:
    from PIL import Image

    if not content:
        raise DataError("the file is empty", reason="empty-image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_formats())
    except Image.DecompressionBombError:
        raise DataError(_many("the photo has far"), reason="too-many-pixels") from None
    except Exception:  # Pillow's plug-ins raise many kinds
        hint = _BRANDS.get(content[8:12], "") if content[4:8] == b"ftyp" else ""
        raise DataError(
            f"this is no photo that can be read{hint}; known formats: {', '.join(_formats())}", reason="not-an-image"
        ) from None
    _check_pixels(*image.size)
    return image


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAXIMUM_PIXELS:
        raise DataError(_many(f"the photo has {width:,} x {height:,} pixels,"), reason="too-many-pixels")


@cache
def _formats() -> tuple[str, ...]:
    """FORMATS without AVIF where Pillow is older than 11.3 or was built without it."""
    from PIL import features

    avif = find_spec("PIL.AvifImagePlugin") is not None and features.check("avif")
    return FORMATS if avif else tuple(each for each in FORMATS if each != "AVIF")


def _orientation(image: Any) -> int:
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing
        return 1
    return value if 1 <= value <= 8 else 1


def _header(image: Any, orientation: int) -> Header:
    width, height = image.size
    return Header(str(image.format), image.mode, width, height, orientation)


def decode(content: bytes, at_least: int = 0, *, plain: bool | None = None) -> Pixels:
    """The pixels (height, width, 3) uint8 of a photo: upright, in RGB on white.

    Args:
        at_least: shrink a plain JPEG while decoding (to 1/2, 1/4 or 1/8 of its size) as long as its shorter side stays
            at least this long; 0 = full size. Other fractions would take longer than the full size.
        plain: whether the file is known to be plain, as stored images are; None = look.

    Raises:
        DataError: as `read_header`; or the file is cut or damaged ("damaged-image"), or its values have no scale
            ("pixel-values").
    """
    if plain is None:
        plain = read_header(content).plain
    pixels = _turbo(content, at_least, 2.0 if at_least else 1.0) if plain and content.startswith(_JPEG) else None
    return np.asarray(picture(content)) if pixels is None else pixels


def _turbo(content: bytes, at_least: int = 0, factor: float = 1.0) -> Pixels | None:
    """The pixels of a JPEG by libjpeg-turbo; None for one that it warns of or does not know: Pillow then judges.

    Raises:
        DataError: it ends too soon, which Pillow passes over where an end mark follows; or it has more than
            MAXIMUM_PIXELS, told by its header, since nobody may have looked at it before.
    """
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(content)
        _check_pixels(width, height)
        pixels: Pixels = simplejpeg.decode_jpeg(
            content, "RGB", min_height=at_least, min_width=at_least, min_factor=factor
        )
        return pixels
    except ValueError as error:
        if "premature end" in str(error).lower():
            raise DataError(f"damaged image ({_short(error)})", reason="damaged-image") from None
        return None


def picture(content: bytes) -> Image:
    """The photo as Pillow's RGB image, pixels as `decode` gives them."""
    return _upright(content).convert("RGB")


def rewrite(content: bytes) -> tuple[bytes, Header]:
    """The photo as a PNG that every decoder reads alike and that loses nothing: pixels as `decode` gives them.

    Raises:
        DataError: as `decode`.
    """
    image = _upright(content)
    stored = io.BytesIO()
    image.save(stored, "PNG")
    return stored.getvalue(), Header("PNG", image.mode, *image.size)


def shrink(content: bytes, side: int) -> tuple[bytes, Header]:
    """The photo with a shorter side of `side` (less where the longer one would not fit), as JPEG; never enlarged.

    Raises:
        DataError: as `decode`.
    """
    from PIL import Image

    image = _upright(content)
    factor = min(side / min(image.size), _LONGEST_JPEG / max(image.size))
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=90)
    return stored.getvalue(), Header("JPEG", image.mode, *image.size)


def _upright(content: bytes) -> Image:
    """The decoded photo, upright, of mode L or RGB, on white."""
    from PIL import Image, ImageOps

    try:
        image: Any = _open(content)
        if image.format == "JPEG":
            _turbo(content, at_least=1, factor=8.0)  # as small as can be: it only asks whether the file is whole
        elif image.format == "PNG":
            _open(content).verify()  # checksums of all chunks: of those with pixels Pillow looks at none by itself
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):
            image = _eight_bits(image)
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        found: Image.Image = image.convert("L" if image.mode == "L" else "RGB")
        return found
    except DataError:
        raise
    except Exception as error:  # any kind of error means that the pixels cannot be had
        raise DataError(f"damaged image ({_short(error)})", reason="damaged-image") from None


def _eight_bits(image: Any) -> Any:
    """A grey image of more than 8 bits as one of 8: of 0..65535 as 16-bit files have it, of 0..255, or of 0..1."""
    from PIL import Image

    values = np.asarray(image, dtype=np.float64)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    scale = 65535.0 if image.mode.startswith("I;16") else next((top for top in _TOPS[image.mode] if high <= top), 0.0)
    if not (low >= 0 and scale):
        raise DataError(
            f"grey values from {low:g} to {high:g}, which say nothing of black and white; convert it to 8 bits",
            reason="pixel-values",
        )
    return Image.fromarray(np.rint(values * (255 / scale)).astype(np.uint8))


_TOPS = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}
"""What white may be in images of 32-bit whole numbers and of floats: the least that no value exceeds."""


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


def square(content: bytes, size: int) -> Pixels:
    """The centre square (size, size, 3) of a photo.

    Raises:
        DataError: as `decode`.
    """
    return fit(decode(content, size), size)


def _many(start: str) -> str:
    return f"{start} more than {MAXIMUM_PIXELS // 10**6} megapixels; make it smaller first"


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ").replace("\n", " ")[:120]
