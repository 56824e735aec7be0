"""Small pictures inside the page: each photo is stored once and drawn wherever it is shown."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from markupsafe import Markup, escape

from itm.data.decode import picture
from itm.data.layout import IMAGES
from itm.data.tables import read_columns
from itm.errors import DataError

SIDE = 96
"""Longest side of a stored picture in pixels."""


class Pictures:
    """Thumbnails of images by id. `symbols` is the hidden part of the page that `draw` refers to.

    With `embed` false no pixel enters the page (photos of public data sets are their owners' works), and
    `draw` gives the image's id instead.
    """

    def __init__(self, clean: Path, embed: bool) -> None:
        self.clean, self.embed = clean, embed
        self._places: dict[str, tuple[str, int, int]] | None = None
        self._stored: dict[str, tuple[str, int, int]] = {}

    def draw(self, image_id: str, label: str, tip: str = "") -> Markup:
        """The picture as a fragment; `label` is read out, `tip` is shown on hover (default: the label)."""
        title = f"<title>{escape(tip or label)}</title>"
        if not self.embed:
            return Markup(f'<span class="noimage" title="{escape(tip or label)}">{escape(image_id)}</span>')
        if image_id not in self._stored:
            uri, width, height = self._thumbnail(image_id)
            self._stored[image_id] = (uri, width, height)
        _, width, height = self._stored[image_id]
        return Markup(
            f'<svg class="thumb" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(label)}">{title}<use href="#p{self._number(image_id)}"/></svg>'
        )

    def symbols(self) -> Markup:
        """All pictures drawn so far, once each."""
        parts = [
            f'<image id="p{self._number(name)}" href="{uri}" width="{width}" height="{height}"/>'
            for name, (uri, width, height) in self._stored.items()
        ]
        return Markup(f'<svg class="store" width="0" height="0" aria-hidden="true"><defs>{"".join(parts)}</defs></svg>')

    def _number(self, image_id: str) -> int:
        return list(self._stored).index(image_id)

    def _thumbnail(self, image_id: str) -> tuple[str, int, int]:
        shard, offset, size = self._place(image_id)
        try:
            with (self.clean / shard).open("rb") as tar:
                tar.seek(offset)
                shown = picture(tar.read(size))
        except (OSError, DataError) as error:
            raise DataError(
                f"{self.clean / shard}: image {image_id} cannot be read ({error}); run `dvc repro clean`",
                reason="damaged-image",
            ) from None
        shown.thumbnail((SIDE, SIDE))
        encoded = io.BytesIO()
        shown.save(encoded, "WEBP", quality=60, method=6)
        return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode(), *shown.size

    def _place(self, image_id: str) -> tuple[str, int, int]:
        if self._places is None:
            columns = read_columns(self.clean / IMAGES, ("image_id", "shard", "offset", "size")).values()
            rows = zip(*(column.tolist() for column in columns), strict=True)
            self._places = {name: (shard, offset, size) for name, shard, offset, size in rows}
        if image_id not in self._places:
            raise DataError(f"{self.clean / IMAGES}: has no image {image_id}; run `dvc repro clean`", reason="no-image")
        return self._places[image_id]
