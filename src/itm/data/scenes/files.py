"""scenes.jsonl and scenes-images.tar: written from the seed, read back with a check of every line.

Both are written scene by scene, each from the seed alone, so that memory stays small for any number of images.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.config.data import ScenesParameters
from itm.data.files import atomic_path
from itm.data.scenes.generate import all_scenes
from itm.data.scenes.records import Scene, from_json, to_json
from itm.data.scenes.render import render
from itm.errors import DataError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SUB_FILTER = 1


#: Told how many of how many scenes are written, for a progress bar.
Report = Callable[[int, int], None]


def write_scenes(parameters: ScenesParameters, path: str | Path, report: Report | None = None) -> None:
    """Write the scenes of train, dev and test as JSON, one a line; equal parameters give equal bytes."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for scene in _reported(all_scenes(parameters), parameters, report):
            file.write(json.dumps(to_json(scene), separators=(",", ":"), ensure_ascii=False) + "\n")


def write_images(parameters: ScenesParameters, path: str | Path, report: Report | None = None) -> None:
    """Write the pictures as an uncompressed tar of `<image_id>.png`, in the order of `write_scenes`.

    Equal parameters give equal pixels on every machine, and equal bytes with the same zlib.
    """
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for scene in _reported(all_scenes(parameters, captions=False), parameters, report):
            content = png(render(scene, parameters.image_size, parameters.noise, parameters.seed))
            member = tarfile.TarInfo(f"{scene.image_id}.png")
            member.size, member.mtime, member.mode = len(content), 0, 0o644
            tar.addfile(member, io.BytesIO(content))
            # A tar keeps a record of every member, even when it is only written; nothing here reads them.
            tar.getmembers().clear()


def read_scenes(path: str | Path) -> Iterator[Scene]:
    """The scenes of a file of `write_scenes`, one at a time, each checked.

    Raises:
        DataError: no such file; a line that is not JSON, lacks a key, or holds an unknown value; an image_id that
            comes twice. The message names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run the download stage (`dvc repro`)", reason="missing-file")
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                scene = from_json(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number}: not valid JSON: {error}", reason="not-json") from None
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}", reason=error.reason) from None
            if scene.image_id in seen:
                raise DataError(
                    f"{path}, line {number}: image_id {scene.image_id!r} is already on line {seen[scene.image_id]}",
                    reason="duplicate",
                )
            seen[scene.image_id] = number
            yield scene


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The (height, width, 3) uint8 pixels as a PNG file.

    Noise leaves deflate nothing to match, so that Huffman coding alone is smaller here than a search for
    repetitions, and three times as fast; Pillow's writer always searches row filters first.
    """
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, 3 * width)
    filtered = np.empty((height, 1 + 3 * width), dtype=np.uint8)
    filtered[:, 0] = _SUB_FILTER
    filtered[:, 1:4] = rows[:, :3]
    np.subtract(rows[:, 3:], rows[:, :-3], out=filtered[:, 4:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_HUFFMAN_ONLY)
    body = deflate.compress(filtered.tobytes()) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _reported(scenes: Iterator[Scene], parameters: ScenesParameters, report: Report | None) -> Iterator[Scene]:
    total = parameters.train_images + parameters.dev_images + parameters.test_images
    for done, scene in enumerate(scenes, start=1):
        yield scene
        if report is not None:
            report(done, total)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
