"""Fetching source files: mirror first, several addresses, verified before a file takes its name."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from itm.data.archives import told, zip_fault
from itm.data.catalogue import CATALOGUE, Contents, Copy, SourceFile
from itm.data.files import mirror_folder, read_json, sha256_of, write_json
from itm.data.http import Cut, Policy, Refused, discard, receive
from itm.errors import DataError

log = logging.getLogger(__name__)

Report = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes so far and the bytes in all (None where unknown)."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did: where the file came from, and whether its checksum was recorded just now."""

    path: Path
    origin: str
    bytes: int
    sha256: str
    first_seen: bool = False


class _Wrong(Exception):
    """A source gave something else than the file."""


def fetch(
    name: str,
    file: str,
    entry: SourceFile,
    path: Path,
    *,
    policy: Policy | None = None,
    record_path: Path | None = None,
    report: Report | None = None,
) -> Fetched:
    """Bring `path` into being with the contents that the catalogue promises, or raise and leave nothing there.

    In order: the file itself where it is already right, the mirror's copies, then each address with retries.
    Unfinished downloads wait in `.incomplete` beside the data set's folder, so that a run killed at any moment
    goes on where it stopped. Two runs that want the same file wait for each other.

    Raises:
        DataError: no source gave the right file, and what each of them gave; reason "manual" where a person must
            get it, "no-space" where the disk is too small.
    """
    from filelock import FileLock

    policy, report = policy or Policy(), report or (lambda *_: None)
    waiting = path.parent.parent / ".incomplete" / path.parent.name
    waiting.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    tried: list[str] = []
    with FileLock(waiting / f"{file}.lock"):
        if path.is_file() and (digest := _right(name, file, entry, path, record_path)):
            return Fetched(path, "already here", path.stat().st_size, digest)
        mirror = mirror_folder()
        local = [(mirror / copy.path, copy) for copy in entry.mirror] if mirror else []
        if entry.package:
            local.insert(
                0, (_package_file(entry.package), Copy(path=entry.package, bytes=entry.bytes, sha256=entry.sha256))
            )
        for source, copy in local:
            candidate = waiting / f"{file}.copy"
            try:
                size, digest = _copy(source, copy, candidate, lambda done, total: report(file, done, total))
                if copy.sha256 is None:
                    _trust(name, file, candidate, size, digest, record_path)
                _place(candidate, path)
                seen = copy.sha256 is None and _remember(name, file, size, digest, copy.path, record_path)
                return Fetched(path, str(source), size, digest, seen)
            except _Wrong as wrong:
                if source.is_file():
                    log.warning("%s: %s; trying the next place", source, wrong)
                tried.append(f"{source}: {wrong}")
            finally:
                candidate.unlink(missing_ok=True)
        published = _published(name, file, entry, record_path)
        for url in entry.urls:
            part = waiting / f"{file}.part"
            try:
                size, digest = _download(url, file, published, entry.at_most, part, policy, report)
                _place(part, path)
                discard(part)
                seen = published.sha256 is None and _remember(name, file, size, digest, url, record_path)
                return Fetched(path, url, size, digest, seen)
            except (Refused, Cut, _Wrong) as wrong:
                log.warning("%s: %s", url, wrong)
                tried.append(f"{url}: {wrong}")
    raise _failure(name, file, entry, path, tried, mirror)


def verify(name: str, file: str, entry: SourceFile, path: Path, record_path: Path | None = None) -> str:
    """The sha256 of a file that is present and right ("right" where its checksum is known at all).

    Raises:
        DataError: the file is missing, or is neither the published file nor one of the mirror's variants.
    """
    if not path.is_file():
        raise DataError(f"{path}: missing; run `itm data fetch {name}`", reason="missing-file")
    known = _known(name, file, entry, record_path)
    digest = sha256_of(path)
    faults = [_fault(contents, path.stat().st_size, digest) for contents in known]
    if known and None not in faults:
        raise DataError(
            f"{path}: {' and '.join(dict.fromkeys(map(str, faults)))}; remove it and run `itm data fetch {name}`",
            reason="checksum",
        )
    return digest


def _known(name: str, file: str, entry: SourceFile, record_path: Path | None) -> list[Contents]:
    """Every checksum under which the file counts as right."""
    first = recorded(name, file, record_path)
    known = [entry, *(copy for copy in entry.mirror if not copy.gzip), *([first] if first else [])]
    return [contents for contents in known if contents.sha256]


def _published(name: str, file: str, entry: SourceFile, record_path: Path | None) -> Contents:
    """What a download from the network must be: as published, or else as recorded at the first download."""
    first = None if entry.sha256 else recorded(name, file, record_path)
    return first or Contents(bytes=entry.bytes, sha256=entry.sha256)


def _fault(contents: Contents, size: int, digest: str) -> str | None:
    if contents.bytes is not None and size != contents.bytes:
        return f"{size} bytes instead of {contents.bytes}"
    if contents.sha256 is not None and digest != contents.sha256:
        return f"sha256 {digest[:12]}... instead of {contents.sha256[:12]}..."
    return None


def _right(name: str, file: str, entry: SourceFile, path: Path, record_path: Path | None) -> str | None:
    """The checksum of a file that is known to be right, or None."""
    known = _known(name, file, entry, record_path)
    digest = sha256_of(path) if known else ""
    if any(_fault(contents, path.stat().st_size, digest) is None for contents in known):
        return digest
    if known:
        log.warning("%s: not the file the catalogue promises; fetching it again", path)
    return None


def _package_file(place: str) -> Path:
    """Where an installed package keeps a file; `place` is the package's name and the path below it."""
    package, _, rest = place.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return Path(place)
    return Path(next(iter(spec.submodule_search_locations))) / rest


def _copy(source: Path, copy: Copy, candidate: Path, report: Callable[[int, int | None], None]) -> tuple[int, str]:
    """Copy a mirror's file to `candidate`, expanded if it is compressed; returns size and sha256 of the result."""
    if not source.is_file():
        raise _Wrong("no such file")
    total = source.stat().st_size
    _need_room(candidate.parent, total)
    digest, done = hashlib.sha256(), 0
    with candidate.open("wb") as writer:
        for block in _blocks(source):
            digest.update(block)
            writer.write(block)
            done += len(block)
            report(done, total)
    if fault := _fault(copy, done, digest.hexdigest()):
        raise _Wrong(fault)
    if not copy.gzip:
        return done, digest.hexdigest()
    expanded = candidate.with_name(candidate.name + ".expanded")
    try:
        with expanded.open("wb") as writer:
            writer.writelines(_blocks(candidate, packed=True))
        expanded.replace(candidate)
    finally:
        expanded.unlink(missing_ok=True)
    return candidate.stat().st_size, sha256_of(candidate)


def _blocks(path: Path, packed: bool = False) -> Iterator[bytes]:
    """The bytes of a file, expanded if it is packed.

    Raises:
        _Wrong: it is damaged, or cannot be read.
    """
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except Exception as error:  # damaged bytes raise what gzip and zlib happen to meet
        raise _Wrong(f"{'not a whole gzip file' if packed else 'cannot be read'} ({told(error)})") from None


def _trust(name: str, file: str, candidate: Path, size: int, digest: str, record_path: Path | None) -> None:
    """Check a copy that nobody has published a checksum for against the record, or at least against its form."""
    first = recorded(name, file, record_path)
    fault = _fault(first, size, digest) if first else _broken(candidate, file)
    if fault:
        raise _Wrong(fault)


def _download(
    url: str, file: str, published: Contents, most: int, part: Path, policy: Policy, report: Report
) -> tuple[int, str]:
    """Receive `url` into `part` and check it; a part that was continued and is wrong is fetched once more whole."""
    any_copy = published.sha256 is not None
    for _ in range(2):
        if published.bytes is not None:
            _need_room(part.parent, published.bytes - (part.stat().st_size if part.is_file() else 0))
        continued = receive(
            url, part, published.bytes, most, any_copy, policy, lambda done, total: report(file, done, total)
        )
        size, digest = part.stat().st_size, sha256_of(part)
        fault = _fault(published, size, digest) or (None if any_copy else _broken(part, file))
        if fault is None:
            return size, digest
        discard(part)
        if not continued:
            break
        log.warning("%s: continued download is wrong (%s); fetching it whole", url, fault)
    raise _Wrong(fault)


def _broken(path: Path, file: str) -> str | None:
    """What is plainly wrong with a file whose checksum nobody knows, judged by the form its name promises."""
    with path.open("rb") as opened:
        head = opened.read(512)
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page, not the file"
    if file.endswith(".zip"):
        return zip_fault(path)
    if file.endswith(".gz"):
        try:
            for _ in _blocks(path, packed=True):
                pass
        except _Wrong as wrong:
            return str(wrong)
    return None if head else "empty"


def _place(candidate: Path, path: Path) -> None:
    """Give a checked file its name, in one step, after its bytes are on the disk."""
    with candidate.open("rb") as file:
        os.fsync(file.fileno())
    try:
        candidate.replace(path)
    except OSError:  # the folder is a link to another disk
        beside = path.with_name(f".{path.name}.moving")
        shutil.copyfile(candidate, beside)
        beside.replace(path)
        candidate.unlink()


def _remember(name: str, file: str, size: int, digest: str, origin: str, record_path: Path | None) -> bool:
    if recorded(name, file, record_path) is not None:
        return False
    record(name, file, size, digest, origin, record_path)
    log.warning(
        "%s/%s: no checksum is published; sha256 %s is recorded and binding from now on (commit the record)",
        name,
        file,
        digest,
    )
    return True


def _need_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(f"{folder}: {size / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free", reason="no-space")


def _failure(name: str, file: str, entry: SourceFile, path: Path, tried: list[str], mirror: Path | None) -> DataError:
    lines = "".join(f"\n  {line}" for line in tried)
    if entry.manual and not entry.urls:
        places = " or ".join(f"FOLDER/{copy.path}" for copy in entry.mirror)
        return DataError(
            f"{name}: {file} must be fetched by hand: {entry.manual}; then put it at {places}, set ITM_MIRROR=FOLDER "
            f"and run the stage again{lines}",
            reason="manual",
        )
    hint = "" if mirror else " (or set ITM_MIRROR to a folder that has it)"
    return DataError(
        f"{name}: no source gave {file}{lines}\n  what arrived is kept; run the stage again to go on{hint}",
        reason="download",
    )


RECORD = CATALOGUE.with_name("catalogue.lock.json")
"""The record; commit it, so that everybody's first download is the same."""


def recorded(name: str, file: str, path: Path | None = None) -> Contents | None:
    """Bytes and sha256 of the first download of a file, or None where there was none.

    Raises:
        DataError: the record is not JSON of the expected form.
    """
    path = path or RECORD
    if not path.is_file():
        return None
    entry = read_json(path)
    if not isinstance(entry, dict):
        raise DataError(
            f"{path}: expected an object, found {type(entry).__name__}; restore it from git", reason="record"
        )
    found = entry.get(f"{name}/{file}")
    if found is None:
        return None
    try:
        return Contents(bytes=found["bytes"], sha256=found["sha256"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path}: entry '{name}/{file}' is damaged; restore it from git", reason="record") from None


def record(name: str, file: str, size: int, sha256: str, origin: str, path: Path | None = None) -> None:
    """Add a first download to the record. Stages that run side by side wait for each other."""
    path = path or RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        entries = read_json(path) if path.is_file() else {}
        entries[f"{name}/{file}"] = {"bytes": size, "sha256": sha256, "from": origin}
        write_json(path, entries)
