"""Places of the benchmarks' own files: ids, ratings, texts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from itm.data.annotations import LARGEST, content_of, rows_of
from itm.data.files import mirror_folder
from itm.errors import DataError
from itm.parse import parse_json

_FOLDERS = ("", "coco", "cxc", "hierarcaps", "flickr8k", "flickr8k-224", "flickr30k", "sugarcrepe", "himo-docci")


def find(names: tuple[str, ...], folder: Path | None) -> Path:
    """The first of some file names (or their .gz) in the annotation folder, the mirror, or data/raw.

    Raises:
        DataError: none is there; the message says where it was looked for.
    """
    roots = [folder] if folder else [*filter(None, [mirror_folder()]), Path("data/raw")]
    for root in roots:
        for name in names:
            for ending in ("", ".gz"):
                for below in _FOLDERS:
                    path = root / below / (name + ending)
                    if path.is_file():
                        return path
    raise DataError(
        f"{names[0]}: not found below {', '.join(map(str, roots))}; name its folder with --annotations,"
        " or set ITM_MIRROR to a folder that has it",
        reason="missing-annotations",
    )


def rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file with these columns, compressed or not."""
    return rows_of(content_of(path), str(path), columns)


def check_count(path: Path, what: str, found: int, wanted: int) -> None:
    """Stop unless a file holds as many things as the published one: figures from a part of it are no figures."""
    if found != wanted:
        raise DataError(f"{path}: {found:,} {what} instead of {wanted:,}; fetch the file again", reason="size")


def eccv_caption_data() -> Path:
    """The data folder of the installed package eccv_caption.

    Raises:
        DataError: the package is not installed.
    """
    spec = importlib.util.find_spec("eccv_caption")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the ECCV Caption lists come with a package: pip install eccv_caption", reason="missing-package"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def read_json(path: Path) -> Any:
    """The value of a JSON file that is part of a benchmark."""
    return parse_json(content_of(path), str(path), largest=LARGEST)
