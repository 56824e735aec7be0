"""Faults of the machine as messages: disks, missing packages, files that are not what their names say."""

from __future__ import annotations

import errno
import os
import re
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, requires

from itm.errors import InstallError, ProjectError, printable

WRITING = "while writing "
"""How the note of an error begins that names the file in work."""

REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space there",
    errno.EDQUOT: "your quota of the disk is used up; free some space there",
    errno.EFBIG: "the file is larger than allowed (`ulimit -f`); raise the limit",
    errno.EROFS: "the file system is read-only; mount it writable",
    errno.EACCES: "permission denied; make it accessible to you",
    errno.EPERM: "operation not permitted; make it writable for you (`lsattr` shows files that nobody may change)",
    errno.EIO: "the disk reports an error; check it, or work on another one",
}


def disk_fault(error: BaseException) -> str | None:
    """What to do about an error of the disk, also of one that a library wrapped; None for any other error.

    >>> disk_fault(OSError(errno.ENOSPC, "No space left on device", "models/model.bin"))
    'models/model.bin: the disk is full; free some space there, and run the same command again'
    >>> disk_fault(ValueError("no such thing")) is None
    True
    """
    causes = [error]
    while following := (causes[-1].__cause__ or causes[-1].__context__):
        causes.append(following)
    for cause in causes:
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in REFUSALS:  # libraries that write by themselves give the number in the text only, or not at all
            texts = {os.strerror(number): number for number in REFUSALS} | {"inline_container.cc": errno.ENOSPC}
            number = next((number for text, number in texts.items() if text in str(cause)), None)
        if number is not None:
            notes = [note.removeprefix(WRITING) for note in getattr(cause, "__notes__", ()) if note.startswith(WRITING)]
            where = notes[0] if notes else getattr(cause, "filename", None) or str(cause).strip()
            return f"{where}: {REFUSALS[number]}, and run the same command again"
    return None


_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "hydra": "hydra-core", "omegaconf": "hydra-core"} | {
    "multipart": "python-multipart",
    "open_clip": "open-clip-torch",
    "dvc_data": "dvc",
    "voluptuous": "dvc",
    "markupsafe": "jinja2",
    "eccv_caption": "eccv-caption",
}
"""Packages whose modules have other names, or come with them."""


def lacking(error: ModuleNotFoundError, extra: str = "") -> InstallError | None:
    """What to install where a module is missing; None when no extra of this package holds it: that is a fault of ours.

    Of several extras that hold it `extra` is named if it is one of them, else the smallest.

    >>> print(lacking(ModuleNotFoundError("No module named 'torch'", name="torch")))
    this needs the package torch, which is not installed: pip install 'graded-itm[model]'
    """
    module = (error.name or "").partition(".")[0]
    package = _PACKAGES.get(module, module.lower().replace("_", "-"))
    try:
        stated = requires("graded-itm") or []
    except PackageNotFoundError:
        stated = []
    extras: dict[str, set[str]] = {}
    for requirement in stated:
        name, _, marker = requirement.partition(";")
        for each in re.findall(r"extra == ['\"]([^'\"]+)", marker):
            extras.setdefault(each, set()).add(re.split(r"[^A-Za-z0-9._-]", name)[0].lower().replace("_", "-"))
    fitting = sorted((each for each in extras if package in extras[each]), key=lambda each: len(extras[each]))
    if not fitting:
        return None
    install = f"pip install 'graded-itm[{extra if extra in fitting else fitting[0]}]'"
    return InstallError(f"this needs the package {package}, which is not installed: {install}")


def message_of(error: Exception, extra: str = "") -> str | None:
    """What a command says of an error that no change of the code would mend; None for one that is a fault of ours.

    >>> message_of(FileNotFoundError(2, "No such file or directory", "a.csv"))
    'a.csv: no such file or directory'
    >>> message_of(KeyError("a")) is None
    True
    """
    if isinstance(error, ProjectError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return None if (told := lacking(error, extra)) is None else str(told)
    if (told_of_disk := disk_fault(error)) is not None:
        return printable(told_of_disk)
    if isinstance(error, OSError):
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        return printable(f"{error.filename}: {reason}" if error.filename is not None else reason)[:900]
    if isinstance(error, UnicodeError):
        return f"a text is not in the encoding that it should have ({printable(str(error))[:300]})"
    if isinstance(error, zipfile.BadZipFile | zlib.error | EOFError):
        return f"a damaged file: {printable(str(error))[:300] or 'it ends too soon'}"
    return None
