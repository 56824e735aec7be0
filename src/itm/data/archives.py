"""Zip and tar archives read without unpacking, refused whole when they hold anything unsafe."""

from __future__ import annotations

import re
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import Lock
from types import TracebackType
from typing import IO, Self

from itm.data.decode import check_bytes, read_photo
from itm.errors import DataError, first_few, shown

LARGEST_MEMBER = 64 << 30
LARGEST_TOTAL = 256 << 30
LARGEST_RATIO = 200.0
"""Unpacked to packed size; text packs 20:1, photos 1:1, a zip bomb 1000:1."""
_SMALL = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file inside an archive: its name with forward slashes, its unpacked and packed size."""

    name: str
    size: int
    packed: int
    is_link: bool = False


class Archive:
    """The files of a .zip, .tar or .tar.gz by name, checked when opened. Reading is safe from many threads.

    Raises:
        DataError: not a whole archive of the kind its name says (reason "damaged-archive"); or it holds a name that
            leaves the target folder, a link or device, a repeated name, or unpacks to too much (reason
            "unsafe-archive"). All such members are counted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._zip: zipfile.ZipFile | None = None
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}
        try:
            members = list(self._open())
            check_members(path, members)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; run the download stage", reason="missing-file") from None
        except DataError:
            self.close()
            raise
        except Exception as error:  # damaged bytes raise what the library happens to meet
            self.close()
            raise DataError(
                f"{path}: not a whole {_kind(path)} archive ({told(error)}); remove it and run the download stage "
                "again",
                reason="damaged-archive",
            ) from None
        self.members = {member.name: member for member in members}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive's file."""
        for opened in (self._zip, self._file):
            if opened is not None:
                opened.close()

    def names(self) -> list[str]:
        """The files' names, in the archive's order."""
        return list(self.members)

    def by_name(self, wanted: Container[str]) -> dict[str, str]:
        """The member of each file name, in whatever folder: the first where several have it.

        Raises:
            DataError: members with the name of a wanted file differ in their bytes (reason "ambiguous-member").
        """
        found: dict[str, str] = {}
        differing = []
        for member in self.members:
            name = member.rsplit("/", 1)[-1]
            first = found.setdefault(name, member)
            if first != member and name in wanted and self.read(first) != self.read(member):
                differing.append(f"'{first[-80:]}' and '{member[-80:]}'")
        if differing:
            raise DataError(
                f"{self.path}: {len(differing)} pairs of files have one name and different bytes "
                f"({first_few(differing)}); remove the wrong one of each from the archive",
                reason="ambiguous-member",
            )
        return found

    def near(self, name: str) -> str:
        """A hint for a photo that is not there: files of another case, suffix or Unicode form, or with its number.

        `name` is the file's name or its id; a number is one of at least six digits at the end of the stem.
        """
        found = next((self._by_key[key] for key in _keys(name) if key in self._by_key), "")
        return f"; there is {shown(found, 80)}" if found else ""

    @cached_property
    def _by_key(self) -> dict[str, str]:
        return {key: member for member in reversed(self.members) for key in _keys(member)}

    def find(self, name: str) -> bytes:
        """The bytes of the file of that name, in whatever folder.

        Raises:
            DataError: as `by_name` and `read`; or no member has this name, with those that are there.
        """
        member = self.by_name({name}).get(name)
        if member is None:
            raise DataError(
                f"{self.path}: has no {name} (has: {first_few((each[-40:] for each in self.members), limit=8)})",
                reason="missing-member",
            )
        return self.read(member)

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            DataError: no such file in the archive, or its bytes are damaged.
        """
        if name not in self.members:
            raise DataError(f"{self.path}: has no file '{name}'", reason="missing-member")
        try:
            with self._lock:
                if self._zip is not None:
                    return self._zip.read(name)
                assert self._file is not None
                offset, size = self._places[name]
                self._file.seek(offset)
                content = self._file.read(size)
            if len(content) != size:
                raise EOFError(f"cut after {len(content)} of {size} bytes")
        except Exception as error:  # as when it is opened; also encrypted members, and methods that Python lacks
            raise DataError(
                f"{self.path}: '{name[-80:]}' is damaged ({told(error)}); remove the archive and run the download "
                "stage again",
                reason="damaged-member",
            ) from None
        return content

    def photo(self, name: str) -> bytes:
        """The bytes of one photo.

        Raises:
            DataError: as `read`; or it is too large for a photo by the archive's own word ("too-many-bytes").
        """
        try:
            check_bytes(self.members[name].size if name in self.members else 0)
        except DataError as error:
            raise DataError(f"{self.path}: '{name[-80:]}': {error}", reason=error.reason) from None
        return self.read(name)

    def _open(self) -> Iterator[Member]:
        if self.path.suffix == ".zip":
            self._zip = zipfile.ZipFile(self.path)
            yield from _zip_members(self._zip)
            return
        self._file = _expanded(self.path) if self.path.suffix in (".gz", ".tgz") else self.path.open("rb")
        length = self._file.seek(0, 2)
        self._file.seek(0)
        with tarfile.open(fileobj=self._file, mode="r:") as tar:
            while (entry := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep every entry
                if entry.isdir():
                    continue
                if entry.offset_data + entry.size > length:
                    raise EOFError(f"cut inside '{entry.name}'")
                self._places[entry.name] = (entry.offset_data, entry.size)
                yield Member(entry.name, entry.size, entry.size, not entry.isreg())
            self._file.seek(tar.offset)
            if self._file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("no end mark after the last file")


def _keys(path: str) -> list[str]:
    """What alike names have in common.

    >>> _keys("val2017/000000000139.jpg"), _keys("Caf\u00e9.JPG") == _keys("cafe\u0301.jpg")
    (['000000000139', '#139'], True)
    """
    name = unicodedata.normalize("NFC", path.rsplit("/", 1)[-1]).casefold()
    stem = re.sub(r"\.[a-z]{3,4}$", "", name)
    number = re.search(r"[0-9]{6,}$", stem)
    return [stem, *([f"#{int(number[0])}"] if number else [])]


def told(error: Exception) -> str:
    """What a library says of damaged bytes, which may be long, or nothing.

    >>> told(EOFError())
    'EOFError'
    """
    return " ".join(str(error).split())[:200] or type(error).__name__


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        special = bool(mode) and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
        if not info.is_dir():
            yield Member(info.filename, info.file_size, info.compress_size, special)


def zip_fault(path: Path) -> str | None:
    """What is wrong with a zip, told by its names and the checksum of every member; the file may have any name."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(path, _zip_members(archive))
            bad = archive.testzip()
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    except Exception as error:  # as `Archive`
        return f"not a whole zip archive ({told(error)})"
    return f"not a whole zip archive ('{bad[-80:]}' is damaged)" if bad else None


class Folder:
    """The files of a folder, read as those of an archive are."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def names(self) -> list[str]:
        """None: nobody has listed them."""
        return []

    def near(self, name: str) -> str:
        """No hint: nobody has listed them."""
        return ""

    def photo(self, name: str) -> bytes:
        """The bytes of one photo.

        Raises:
            DataError: it cannot be read ("damaged-member"), or is too large for a photo ("too-many-bytes").
        """
        try:
            return read_photo(self.path / name)
        except DataError as error:
            reason = "damaged-member" if error.reason == "missing-file" else error.reason
            raise DataError(f"{name}: {error}", reason=reason) from None


def check_members(path: Path, members: Iterable[Member]) -> None:
    """Stop unless every member is a plain file that stays inside the target and unpacks to a sane size.

    Raises:
        DataError: with every fault and how often it occurs; reason "unsafe-archive".
    """
    faults: dict[str, list[str]] = {}
    seen: set[str] = set()
    total = 0
    for member in members:
        total += member.size
        if fault := _unsafe(member, seen):
            faults.setdefault(fault, []).append(repr(member.name[:80]))
        seen.add(member.name)
    if total > LARGEST_TOTAL:
        faults[f"unpacks to {total} bytes, more than {LARGEST_TOTAL}"] = ["all files together"]
    if faults:
        shown = "; ".join(f"{fault}: {first_few(names)}" for fault, names in faults.items())
        raise DataError(f"{path}: refused whole, nothing was unpacked: {shown}", reason="unsafe-archive")


def _unsafe(member: Member, seen: set[str]) -> str:
    parts = PurePosixPath(member.name).parts
    if member.is_link:
        return "a link or a device"
    if not parts or "\\" in member.name or "\0" in member.name or ":" in parts[0]:
        return "a name that is no plain path"
    if member.name.startswith("/") or ".." in parts:
        return "a path outside the target folder"
    if member.name in seen:
        return "a name that comes twice"
    if member.size > LARGEST_MEMBER:
        return f"a file of more than {LARGEST_MEMBER} bytes"
    if member.size > _SMALL and member.size > LARGEST_RATIO * max(1, member.packed):
        return f"a file packed more than {LARGEST_RATIO:.0f} to 1"
    return ""


def _expanded(path: Path) -> IO[bytes]:
    """The tar inside a .tar.gz as a nameless temporary file beside it (gzip cannot be read at random)."""
    import gzip
    import tempfile

    limit = max(_SMALL, int(LARGEST_RATIO * path.stat().st_size))
    file = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (closed by Archive)
    try:
        with gzip.open(path) as packed:
            while block := packed.read(_SMALL):
                file.write(block)
                if file.tell() > limit:
                    raise DataError(
                        f"{path}: refused whole, nothing was unpacked: packed more than {LARGEST_RATIO:.0f} to 1",
                        reason="unsafe-archive",
                    )
    except BaseException:
        file.close()
        raise
    return file


def _kind(path: Path) -> str:
    return "zip" if path.suffix == ".zip" else "tar.gz" if path.suffix in (".gz", ".tgz") else "tar"
