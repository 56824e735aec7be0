"""Damaged files: flipped bits, zeroed stretches, cuts, other encodings, and files of another kind."""

from __future__ import annotations

import functools
import io
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SECONDS = 60
"""No answer after this long is a hang; each takes well under a second."""
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "cp037", "utf-8-sig")
KINDS = ("bit", "bit", "bits", "zeros", "cut", "out", "twice", "encoding", "other")


class Damage(NamedTuple):
    """What happens to a file: of which kind, where, how far, and which bit or encoding."""

    kind: str
    at: int
    length: int
    which: int

    def __call__(self, content: bytes) -> bytes:
        """The damaged copy; it may be equal to the file, where zeros are set to zero."""
        if self.kind == "other":
            return others()[self.at % len(others())]
        if self.kind == "encoding":
            return content.decode("latin-1").encode(ENCODINGS[self.which % len(ENCODINGS)], "replace")
        at = self.at % max(1, len(content))
        end = at + self.length
        if self.kind in ("bit", "bits"):
            changed = bytearray(content)
            for place in (at,) if self.kind == "bit" else (at, end, at * 7 + 1):
                changed[place % len(content)] ^= 1 << self.which
            return bytes(changed)
        middle = {"zeros": bytes(len(content[at:end])), "cut": b"", "out": b"", "twice": content[at:end] * 2}
        return content[:at] + middle[self.kind] + (b"" if self.kind == "cut" else content[end:])


DAMAGES = st.builds(Damage, st.sampled_from(KINDS), st.integers(0, 2**31 - 1), st.integers(1, 63), st.integers(0, 7))


def cases(usual: int, thorough: int) -> settings:
    """How many examples a test takes that reads a whole file for each: few every day, more with `make long`."""
    count = thorough if settings().max_examples > 100 else usual
    return settings(max_examples=count, suppress_health_check=list(HealthCheck), print_blob=True)


@contextmanager
def no_hang() -> Iterator[None]:
    """A block that fails where it does not end."""

    def stop(*_: object) -> None:
        raise AssertionError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@functools.cache
def others() -> list[bytes]:
    """Files that are something else: nothing, a page, other encodings, JSON, arrays of objects and of nothing."""
    objects, nothing = io.BytesIO(), io.BytesIO()
    np.savez(objects, image_ids=np.array([{}], object), protocol=np.array([None]))
    np.savez(nothing, protocol=np.array("[1"))
    texts = [
        *map(json.dumps, (None, 1, "a", [], {}, [1, {}], {"a": None, "method": [], "__metadata__": 3})),
        "a,b\n1\n",
    ]
    return [
        b"",
        b"\0" * 100,
        b"<!DOCTYPE html><html>404</html>",
        b"PK\x03\x04" + b"\xff" * 60,
        b"PAR1" + b"\xff" * 60 + b"PAR1",
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\xff\xd8\xff\xe0" * 9,
        "caption_id,image_id,text\n1,2,\xe4\ud800\n".encode("utf-16", "surrogatepass"),
        "t\xfcr".encode("latin-1"),
        b"[" * 100_000,
        objects.getvalue(),
        nothing.getvalue(),
        *(text.encode() for text in texts),
    ]
