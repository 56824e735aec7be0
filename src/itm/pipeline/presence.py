"""Signs of who is at work in a project, for other containers and machines too, where process numbers say nothing.

While a stage or a runner works it holds a lock that the kernel releases with it, and leaves a record of its host.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from itm.data.files import atomic_path

RUNNING = Path(".itm/running")
"""Whatever works holds a shared lock on this file; `itm gc` deletes nothing while one does."""
RECORDS = Path(".itm/at-work")
DVC_LOCK = Path(".dvc/tmp/lock")
"""Held by DVC whenever it does not wait for a stage."""


@dataclass(frozen=True)
class Presence:
    """One process at work: `boot` is new after each start of the machine, `began` tells a reused number apart."""

    what: str
    host: str
    boot: str
    namespace: str
    pid: int
    began: str

    def __str__(self) -> str:
        return f"{self.what} on host {self.host}, process {self.pid}"


def this(what: str) -> Presence:
    """This process; what the system does not tell (no /proc) is empty."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        namespace = boot = ""
    return Presence(what, socket.gethostname(), boot, namespace, os.getpid(), _began(os.getpid()))


@contextmanager
def present(root: str | Path, what: str) -> Iterator[None]:
    """Be seen at work in the project; where the place cannot be written or locked, go on without."""
    root, me = Path(root), this(what)
    record = root / RECORDS / f"{uuid.uuid4().hex}.json"
    with ExitStack() as stack:
        with suppress(OSError):
            for path, other in records(root):
                if other is not None and gone(other, me, locked=True):
                    path.unlink(missing_ok=True)
            with atomic_path(record) as temporary:
                temporary.write_text(json.dumps(asdict(me)), encoding="utf-8")
            stack.callback(_remove, record)
        with suppress(OSError):
            fcntl.flock(stack.enter_context((root / RUNNING).open("a")), fcntl.LOCK_SH)
        yield


def records(root: Path) -> list[tuple[Path, Presence | None]]:
    """The records in a project with their files; None for one that cannot be read."""
    found: list[tuple[Path, Presence | None]] = []
    for path in sorted((root / RECORDS).glob("[0-9a-f]*.json")):
        try:
            found.append((path, Presence(**json.loads(path.read_text(encoding="utf-8")))))
        except FileNotFoundError:  # its process has just ended
            continue
        except (OSError, ValueError, TypeError):
            found.append((path, None))
    return found


def gone(other: Presence, me: Presence, *, locked: bool) -> bool:
    """Whether a recorded process has surely ended; `locked`: somebody holds the lock on RUNNING, or it cannot be asked.

    That of another host cannot be known: not its processes from here, and its locks only on some file systems.
    """
    if not (other.boot and me.boot):
        return other.host == me.host and not locked
    if other.boot != me.boot:
        return other.host == me.host  # started anew since
    if other.namespace == me.namespace:
        return _began(other.pid) != other.began
    return not locked  # another container on this machine: one kernel keeps the lock for both


def others(root: Path) -> tuple[list[str], list[tuple[Path, Presence]]]:
    """What may be at work in the project, seen from here or not, and the records of processes that are surely gone."""
    me = this("")
    locked = [path for path in (RUNNING, DVC_LOCK) if _locked(root / path)]
    working, left = [], []
    for path, other in records(root):
        if other is None:
            working.append(f"{path.relative_to(root)} cannot be read")
        elif gone(other, me, locked=RUNNING in locked):
            left.append((path, other))
        else:
            working.append(f"{other} ({path.relative_to(root)})")
    return working or [f"{path} is locked, maybe from another container on host {me.host}" for path in locked], left


def _remove(record: Path) -> None:
    with suppress(OSError):
        record.unlink()


def _began(pid: int) -> str:
    """When a process began, in the kernel's ticks; "" for none, and where there is no /proc."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return state.rpartition(")")[2].split()[19]


def _locked(path: Path) -> bool:
    """Whether a file is locked by a process, or cannot be asked."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
