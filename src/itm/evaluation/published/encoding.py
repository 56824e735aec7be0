"""Embeddings of a benchmark's items by any model, kept so that nothing is encoded twice."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from itm.data.archives import Archive
from itm.data.decode import picture, read_photo
from itm.data.files import atomic_path
from itm.data.progress import counted
from itm.errors import ConfigError, DataError, ModelError, first_few
from itm.evaluation.published.items import Items
from itm.faults import lacking
from itm.vectors import Vectors, read_vectors

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT = Path(".itm/embeddings")
ARCHIVES = (".zip", ".tar", ".tar.gz")
Encode = Callable[[Any], Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """A model and how its embeddings are made and kept.

    model: an object with `encode_image(list of Pillow images) -> array (n, width)` and `encode_text(list of str) ->
    array (n, width)`, or with one of them; or the name of one (`itm.adapters.open_model`). images: folder or archive of
    the photos; without it images are not encoded. keep: folder of kept embeddings; None = `.itm/embeddings` for a named
    model, nowhere for an object, whose weights nobody knows.
    """

    model: Any
    images: Path | None = None
    keep: Path | None = None
    device: str = "cpu"
    batch_size: int = 64

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(self.model) if isinstance(self.model, str | Path) else type(self.model).__name__

    def vectors(self, items: Items) -> Vectors:
        """The embeddings of all items; from a kept file if the same model made it of the same items."""
        named = isinstance(self.model, str | Path)
        folder = self.keep or (KEPT if named else None)
        if folder is not None and folder.is_file():
            raise ConfigError(f"{folder}: embeddings are kept in a folder, and this is a file", reason="keep")
        if folder is None:
            return Vectors(Path(self.name), self._encode(items))
        key = hashlib.sha256(f"{_fingerprint(self.name)}\0{items.digest()}".encode()).hexdigest()[:16] if named else ""
        kind = "texts" if self.images is None else ""
        path = folder / f"{'-'.join(filter(None, (items.gallery, kind, key)))}.safetensors"
        if not (named and path.is_file()):
            arrays = self._encode(items)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                save_file(arrays, temporary)
        log.info("embeddings: %s", path)
        return read_vectors(path)

    def _encode(self, items: Items) -> dict[str, NDArray[Any]]:
        try:
            return self._arrays(items)
        except ModuleNotFoundError as error:
            raise lacking(error) or error from None

    def _arrays(self, items: Items) -> dict[str, NDArray[Any]]:
        model = open_model(self.name, self.device) if isinstance(self.model, str | Path) else self.model
        encode_image, encode_text = (getattr(model, name, None) for name in ("encode_image", "encode_text"))
        image = text = None
        if encode_image is not None and self.images is not None:
            photos = Photos(self.images, items.photos)
            opened = lambda batch: encode_image([photos.open(name) for name in batch])  # noqa: E731
            image = self._batches(f"{items.gallery} images", opened, items.photos)
        if encode_text is not None:
            text = self._batches(f"{items.gallery} texts", encode_text, items.texts)
        if image is None and text is None:
            what = "a folder of photos" if encode_image is not None else "a model with encode_image or encode_text"
            raise ConfigError(f"{self.name}: nothing to encode; give {what}", reason="no-encoder")
        return items.arrays(image, text)

    def _batches(self, what: str, encode: Encode, items: Sequence[str]) -> NDArray[Any]:
        parts: list[NDArray[Any]] = []
        with counted(what) as report:
            for start in range(0, len(items), self.batch_size):
                batch = list(items[start : start + self.batch_size])
                found = _plain(encode(batch))
                if found.ndim != 2 or len(found) != len(batch) or found.shape[1] != (parts or [found])[0].shape[1]:
                    raise ModelError(
                        f"{self.name}: {what}: an array of shape {found.shape} for {len(batch)} items; expected "
                        f"({len(batch)}, width), the same width each time",
                        reason="shape",
                    )
                parts.append(found)
                report(start + len(batch), len(items))
        return np.concatenate(parts)


class Photos:
    """The photos of some names, found anywhere below a folder or in a .zip or .tar; opened as they are asked for.

    Raises:
        DataError: the place is missing, or lacks photos; the message counts them.
    """

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        wanted = set(names)
        self._read: Callable[[str], bytes]
        if place.is_file() and place.name.endswith(ARCHIVES):
            archive = Archive(place)
            members = {PurePosixPath(name).name: name for name in archive.names()}
            found, self._read = wanted & members.keys(), lambda name: archive.photo(members[name])
        elif place.is_dir():
            paths = {name: Path(top, name) for top, _, files in os.walk(place) for name in wanted.intersection(files)}
            found, self._read = set(paths), lambda name: read_photo(paths[name])
        else:
            raise DataError(f"{place}: no such folder, and no archive ({', '.join(ARCHIVES)})", reason="missing-file")
        absent = [name for name in names if name not in found]
        if absent:
            raise DataError(
                f"{place}: {len(absent)} of the benchmark's {len(names)} photos are missing ({first_few(absent)});"
                " `itm evaluate --items` lists them all",
                reason="missing-photo",
            )

    def open(self, name: str) -> Image:
        """The photo as Pillow's image, upright, in RGB.

        Raises:
            DataError: it cannot be decoded; the message names it.
        """
        try:
            return picture(self._read(name))
        except DataError as error:
            raise DataError(f"{name}: {error}", reason=error.reason) from None


def open_model(name: str, device: str) -> Any:
    """The model of that name. By names of modules: who evaluates files shall not need torch."""
    library = _LIBRARIES.get(name.partition(":")[0])
    if library:  # first, so that what is missing is told at once: its extra holds torch too
        import_module(library)
    return import_module("itm.adapters").open_model(name, device)


_LIBRARIES = {"open_clip": "open_clip", "hf": "transformers"}


def _plain(found: Any) -> NDArray[Any]:
    """An array of what a model gave: a tensor on any device, or whatever numpy takes; half precision as float32."""
    if hasattr(found, "detach"):
        found = found.detach().float().cpu().numpy()
    values = np.asarray(found)
    return values if values.dtype == np.float64 else values.astype(np.float32)


def _fingerprint(name: str) -> str:
    """A model's name, with sizes and times of the files it names: a changed file is another model."""
    facts = [name]
    for part in (name, *name.split(":")):
        path = Path(part)
        if part and path.exists():
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            facts += [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file()]
    return "\n".join(facts)
