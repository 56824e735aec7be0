"""What takes disk space, by kind of file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itm.runs.storage.cache import read_cache
from itm.runs.storage.garbage import RUN_FOLDERS, Garbage, all_garbage, measure


@dataclass(frozen=True)
class Area:
    """One kind of file. unused: bytes that nothing needs, None where that cannot be told."""

    name: str
    path: str
    size: int
    files: int
    unused: int | None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def survey(root: Path, days: int | None) -> tuple[list[Area], list[Garbage]]:
    """The areas, and what can be deleted of them; `days`: files of logs and resume states older than this count as
    unneeded (None: those are left out).

    Raises:
        PipelineError: there is no DVC project, or git lacks objects of its commits.
    """
    cache = read_cache(root)
    garbage = all_garbage(root, cache, days)
    by_name: dict[str, int] = {}
    for item in garbage:
        by_name[item.name] = by_name.get(item.name, 0) + item.size
    runs_size = sum(size for size, _ in cache.runs.values())
    areas = [
        Area(
            "DVC's cache",
            cache.place,
            sum(cache.objects.values()),
            len(cache.objects),
            None if cache.shared else by_name.get("cache", 0),
            "shared with other projects: they may need what this one does not" if cache.shared else "",
        ),
        Area("DVC's run-cache", cache.runs_place, runs_size, len(cache.runs), by_name.get("run-cache", 0)),
    ]
    for folder in ("data/raw", "data/clean", "data/scored", "data/features", *RUN_FOLDERS, "evaluations"):
        size, files = measure(root / folder)
        unused = by_name.get(f"leftovers in {folder}", 0)
        areas.append(Area("workspace", folder, size, files, unused))
    for name, folder, note in (
        ("resume states", ".itm/checkpoints", "of trainings that did not end; `itm gc` takes old ones"),
        ("answers of language models", ".itm/descriptions", "never deleted here: they may have cost money"),
        ("logs", "logs", "`itm gc` takes old ones"),
        ("Snakemake", ".snakemake", "its memory is needed; `itm gc` takes old logs"),
        ("temporary experiments", ".dvc/tmp/exps", "copies made by `dvc exp run --queue`; `dvc queue remove --all`"),
    ):
        size, files = measure(root / folder)
        areas.append(Area(name, folder, size, files, by_name.get(name) if days is not None else None, note))
    return [area for area in areas if area.files or area.name.startswith("DVC")], garbage
