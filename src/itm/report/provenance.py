"""The causes of a number: parameters, package versions, data hashes, and the command that makes it again."""

from __future__ import annotations

import io
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ruamel.yaml import YAML

from itm.config import Parameters
from itm.data.files import sha256_of
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, RATINGS, TRUTH
from itm.errors import DataError
from itm.parse import beginning, parse_keys
from itm.pipeline.revisions import outputs_of

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "dvc",
    "snakemake",
)


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed versions of Python and of the libraries that results may depend on."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def data_hashes(lock: Path, data_name: str) -> dict[str, str]:
    """MD5 of the source files, as dvc.lock records them; empty without a dvc.lock. Other data sets are left out."""
    try:
        known = outputs_of(parse_keys(beginning(lock), str(lock)), str(lock))
    except (FileNotFoundError, DataError):  # none yet, or DVC is writing it
        return {}
    return {path: md5 for path, md5 in sorted(known.items()) if path.startswith(f"data/raw/{data_name}/")}


def facts(parameters: Parameters, clean: Path, scored: Path, root: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of the provenance list: versions, tables with their SHA-256, source files with their MD5."""
    tables = [clean / CAPTIONS, clean / IMAGES, clean / HIERARCHIES, clean / RATINGS, clean / TRUTH, scored / CAPTIONS]
    hashes = [(path.as_posix(), sha256_of(path)) for path in tables if path.is_file()]
    sources = data_hashes(root / "dvc.lock", parameters.data.name)
    found = [("Versions", list(versions().items())), ("Tables (SHA-256; images.parquet names each image's)", hashes)]
    return [*found, ("Source files (MD5, from dvc.lock)", list(sources.items()))] if sources else found


def parameters_text(parameters: Parameters) -> str:
    """The parameters in effect as YAML: entries of methods and data sets that do not run are left out."""
    values = parameters.model_dump(mode="json", exclude={"device", "logger"})
    values["method"] = {name: values["method"][name] for name in parameters.methods}
    values["datasets"] = {parameters.data.name: values["datasets"][parameters.data.name]}
    text = io.StringIO()
    writer = YAML()
    writer.default_flow_style = None
    writer.dump(values, text)
    return text.getvalue()
