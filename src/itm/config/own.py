"""`data.path` as people write it: any name a folder can have, a table or a pattern in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_PATH = "data.path="


def quoted(override: str) -> str:
    """An override of data.path whose value Hydra takes as it stands, whatever is in it.

    >>> print(quoted("data.path=it's (mine)/a.csv"))
    data.path='it\\'s (mine)/a.csv'
    >>> quoted("data.path='a b'")
    "data.path='a b'"
    """
    value = override.removeprefix(_PATH)
    if not override.startswith(_PATH) or re.fullmatch(r"'.*'|\".*\"", value, re.S):
        return override
    # backslashes are themselves but before a quote; ${ would be a reference to another parameter
    escaped = re.sub(r"(\\*)'", lambda found: 2 * found[1] + r"\'", value)
    escaped = re.sub(r"(\\+)$", lambda found: 2 * found[1], escaped)
    return f"{_PATH}'{escaped}'".replace("${", "\\${")


def split(values: dict[str, Any], root: Path) -> dict[str, Any]:
    """The parameters with a table or pattern in data.path as the folder and datasets.folder.table.

    So that the runners watch the photos and not their table alone. A table in a folder that also holds the project,
    whose results would be watched too, stays as it is.
    """
    path, options = Path(values["data"]["path"]).expanduser(), values["datasets"]["folder"]
    folder, table = path, options["table"]
    if not table and not (root / path).exists():
        magic = next((place for place, part in enumerate(path.parts) if re.search(r"[*?\[]", part)), 0)
        if magic:
            folder, table = Path(*path.parts[:magic]), str(Path(*path.parts[magic:]))
    elif not table and (root / path).is_file() and not root.resolve().is_relative_to((root / path.parent).resolve()):
        folder, table = path.parent, path.name
    data, datasets = (
        {**values["data"], "path": str(folder)},
        {**values["datasets"], "folder": {**options, "table": table}},
    )
    return {**values, "data": data, "datasets": datasets}
