"""Writing files so that a reader sees whole files or none, and all files of a result or none."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from itm.errors import DataError, ProjectError, first_few, printable
from itm.faults import WRITING
from itm.parse import beginning, parse_json

PARQUET: Mapping[str, Any] = {"compression": "zstd", "write_page_checksum": True}
"""How tables are written: with a checksum of each page, which readers compare (`page_checksum_verification`)."""

_WAITING: ContextVar[dict[Path, Path] | None] = ContextVar("waiting", default=None)
"""Whole files of a block of `together` under temporary names, by the names that they will have."""


@contextmanager
def together() -> Iterator[None]:
    """A block whose files (`atomic_path`) take their names when it ends without an error: all of them, or none.

    Blocks inside a block belong to it, other threads do not. A function may be decorated with it.
    """
    if _WAITING.get() is not None:
        yield
        return
    waiting: dict[Path, Path] = {}
    token = _WAITING.set(waiting)
    try:
        yield
        for path, temporary in waiting.items():
            temporary.replace(path)
    finally:
        _WAITING.reset(token)
        for temporary in waiting.values():
            temporary.unlink(missing_ok=True)


def whereabouts(path: Path) -> Path:
    """Where the bytes of a file are that may wait for its name (`together`)."""
    return (_WAITING.get() or {}).get(path.absolute(), path)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block (that of `together`) ends without an error.

    The temporary file keeps the suffix, so that libraries which look at it behave the same. Those that killed
    processes left of the same file are removed. DVC and git ignore the names (.dvcignore, .gitignore): else one that
    lies in a folder on which a stage depends would be taken for data.
    """
    path = Path(path)
    _check_kind(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in leftovers(path.parent, path):
        left.unlink(missing_ok=True)
    temporary = _temporary(path)
    try:
        with writing(path):
            yield temporary
            if (waiting := _WAITING.get()) is None:
                temporary.replace(path)
            else:
                if (earlier := waiting.get(path.absolute())) is not None:
                    earlier.unlink()
                waiting[path.absolute()] = temporary.resolve(strict=True)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes a file: a full disk, and most libraries, do not say which one it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"{WRITING}{path}")
        raise


def check_outputs(*paths: Path | None) -> None:
    """Refuse files that could not be written, before the work whose results they are to hold begins; None is no file.

    Raises:
        DataError: a path is a folder or a device, its folder cannot be written to, or a path is given twice.
    """
    given = [path for path in paths if path is not None]
    if len({path.absolute() for path in given}) < len(given):
        raise DataError(f"{given[0]}: two results cannot go to one file; name another", reason="not-writable")
    for path in given:
        _check_kind(path)
        folder = next(each for each in path.absolute().parents if each.exists())
        tried = _temporary(folder / path.name)
        try:
            tried.touch(exist_ok=False)
            tried.unlink()
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written ({(error.strerror or str(error)).lower()}); name a file in a folder that "
                "you may write to",
                reason="not-writable",
            ) from None


def _check_kind(path: Path) -> None:
    """Refuse a folder or a device where a file is to be: putting a file in the place of /dev/null breaks a machine."""
    if path.exists() and not path.is_file():
        what = "a folder; name a file in it" if path.is_dir() else "a device; name a file"
        raise DataError(f"{path}: cannot be written, it is {what}", reason="not-writable")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")


def leftovers(folder: Path, of: Path | None = None) -> list[Path]:
    """Temporary files in a folder whose process was killed: of one file, or of all."""
    stem, suffix = (re.escape(of.stem), re.escape(of.suffix)) if of else (".*", r"(\..*)?")
    pattern = re.compile(rf"\.{stem}\.(\d+)-[0-9a-f]{{8}}\.part{suffix}")
    found = [(path, pattern.fullmatch(path.name)) for path in folder.iterdir()]
    return sorted(path for path, match in found if match and not alive(int(match[1])))


def alive(pid: int) -> bool:
    """Whether a process is there, also one of another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def write_json(path: str | Path, values: Any) -> None:
    """Write JSON with sorted keys and a final newline, so that equal values give equal bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_npz(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as `numpy.load` reads them; equal arrays in one order give equal bytes, whatever the machine.

    numpy's own writers do not: the headers depend on Python's patch version (3.11.2 and 3.11.7 fill in those of zip64
    differently), compressed entries on the zlib. Machines that share a cache would make again what the other has made.
    So entries are not compressed, and zip64 is used only from 2 GB on.

    Raises:
        ValueError: an array holds Python objects.
    """
    import numpy as np

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            array = np.asarray(values, order="C")
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.create_system = 3  # as on Unix
            entry.file_size = array.nbytes  # else zipfile cannot know whether it needs zip64
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def readable(path: str | Path, remedy: str = "run the stage that writes it (`dvc repro`)") -> Iterator[None]:
    """A block that reads a file with somebody's library: what damaged bytes make of it is one message.

    Raises:
        DataError: the file is missing or damaged; `remedy` says what to do.
    """
    try:
        yield
    except ProjectError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {remedy}", reason="missing-file") from None
    except Exception as error:  # libraries raise what they happen to meet in the bytes
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot be read ({said}); {remedy}", reason="damaged") from None


def check_columns(path: str | Path, held: Sequence[str], needed: Iterable[str]) -> None:
    """Refuse a table that lacks a column, or has it twice: nobody knows which is meant.

    Raises:
        DataError: one is missing ("missing-column") or comes twice ("repeated-column").
    """
    needed = list(needed)
    if missing := [name for name in needed if name not in held]:
        raise DataError(
            f"{path}: no column {first_few(missing)}; it has {printable(first_few(held, limit=9))[:500] or 'nothing'}",
            reason="missing-column",
        )
    if twice := [name for name in needed if list(held).count(name) > 1]:
        raise DataError(f"{path}: the column {first_few(twice)} comes more than once", reason="repeated-column")


@contextmanager
def open_parquet(
    path: str | Path, columns: Sequence[str] = (), remedy: str = "run the stage that writes it (`dvc repro`)"
) -> Iterator[Any]:
    """A Parquet file, open as a `pyarrow.parquet.ParquetFile` that compares checksums.

    Raises:
        DataError: the file is missing or damaged (also in the block), or lacks a column; `remedy` says what to do.
    """
    import pyarrow.parquet as pq

    # pq.read_table would load pyarrow.dataset: 0.2 s
    with readable(path, remedy), pq.ParquetFile(path, page_checksum_verification=True) as file:
        check_columns(path, file.schema_arrow.names, columns)
        yield file


def read_arrow(path: str | Path, columns: Sequence[str]) -> Any:
    """Some columns of a Parquet file as a `pyarrow.Table`, in the order asked for. Errors as `open_parquet`."""
    with open_parquet(path, columns) as file:
        return file.read(columns)


def read_npz(path: str | Path, remedy: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The arrays of an .npz file: all, or those of `names` that it has.

    Raises:
        DataError: the file is missing or damaged; `remedy` says what to do.
    """
    import numpy as np

    with readable(path, remedy), np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in (stored.files if names is None else names) if name in stored.files}


def read_npy(path: str | Path) -> Any:
    """The array of a .npy file, which stays in the file until it is looked at; nothing else that numpy would open.

    Raises:
        ValueError: it is a pickle, an archive, cut, or no .npy file at all.
    """
    import numpy as np

    return np.lib.format.open_memmap(path, mode="r")


def sha256_of(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path) -> Any:
    """The value of a JSON file.

    Raises:
        DataError: the file is missing or not JSON.
    """
    path = Path(path)
    with readable(path):
        content = beginning(path)
    return parse_json(content, str(path))


def mirror_folder() -> Path | None:
    """The folder named by ITM_MIRROR, or None where it is not set.

    Raises:
        DataError: ITM_MIRROR names something that is not a folder, or one that cannot be read.
    """
    value = os.environ.get("ITM_MIRROR", "")
    if not value:
        return None
    try:
        next(Path(value).iterdir(), None)
    except OSError as error:
        fault = "no such folder" if isinstance(error, FileNotFoundError | NotADirectoryError) else error.strerror
        raise DataError(
            f"ITM_MIRROR={value}: {str(fault).lower()}; correct it, or unset it to use the network", reason="no-mirror"
        ) from None
    return Path(value)
