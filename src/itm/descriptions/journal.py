"""A journal of paid answers, kept line by line as they come: nothing is lost when a run ends early."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from itm.errors import DataError

FOLDER = Path(".itm/descriptions")
"""Journals lie beside the pipeline: runners delete the declared outputs of a stage that failed."""


def key_of(*facts: object) -> str:
    """A short name for facts that decide an answer.

    >>> key_of("a", 1) == key_of("a", 1) != key_of("a", 2)
    True
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


class Journal:
    """Answers by key, one JSON line each, appended as a whole and synced; the first answer of a key counts.

    A line that was cut by a kill (it has no end) is removed when the journal is opened again. A second process waits
    until the first is done, and then finds its answers.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "j.jsonl"
    >>> with Journal(path) as journal:
    ...     journal.add("k", {"text": "a dog"})
    >>> with Journal(path) as journal:
    ...     journal.get("k")
    {'text': 'a dog'}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[str, dict[str, Any]] = {}
        self._file = -1

    def __enter__(self) -> Self:
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(str(self.path.with_suffix(".lock")))
        self._lock.acquire()
        try:
            self._answers = self._read()
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._lock.release()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer of a key, if there is one."""
        return self._answers.get(key)

    def add(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer; it is on the disk when this returns."""
        if key in self._answers:
            return
        # half a character becomes JSON's escape of it: an answer that was paid for is kept, whatever it is
        line = (json.dumps({"key": key, **answer}, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)
        self._answers[key] = answer

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        answers: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                entry = json.loads(line)
                answers.setdefault(str(entry.pop("key")), _checked(entry))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise DataError(
                    f"{self.path}: line {number} is damaged; remove that line (its image is then described again)",
                    reason="damaged-journal",
                ) from None
        return answers


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    whole = (entry.get(name, 0) for name in ("tokens_read", "tokens_written"))
    if not (isinstance(entry["text"], str) and all(isinstance(value, int) for value in whole)):
        raise ValueError("no answer")
    return entry
