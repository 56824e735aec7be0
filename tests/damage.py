"""Damaged files: flipped bits, zeroed stretches, cuts, and files of another kind; the same ones each time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from random import Random

import numpy as np


def damaged(content: bytes, count: int) -> Iterator[bytes]:
    """`count` damaged copies of a file."""
    random = Random(0)
    for number in range(count):
        place, length = random.randrange(len(content)), random.randrange(1, 64)
        other = bytes([content[place] ^ (1 << random.randrange(8))])
        yield [
            content[:place] + other + content[place + 1 :],
            content[:place] + bytes(min(length, len(content) - place)) + content[place + length :],
            content[:place],
        ][number % 3]


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
