"""YAML and JSON of any origin, as plain values or as one message.

A params.yaml of somebody's branch is as foreign as a download. Brackets by the thousand end the interpreter in the C
code of a parser, and a few lines of aliases stand for more values than any memory holds: both are told from YAML's
events, before anything is built of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from itm.errors import DataError, ProjectError, cut, size_text

LARGEST = 64 << 20
"""Bytes of a text."""
DEEPEST = 100
"""Lists and mappings inside each other; what walks values, here and in libraries, calls itself for each."""
MOST = 2_000_000
"""Values of a YAML text, an alias counted as all that it stands for."""


def beginning(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a file; of one that is too large, as many as `parse_yaml` and `parse_json` need to refuse it."""
    with path.open("rb") as file:
        return file.read(largest + 1)


def parse_yaml(content: bytes, where: str, kind: type[ProjectError] = DataError) -> Any:
    """The plain values of a YAML text: mappings with text as keys, lists, text, numbers, true, false, null.

    Args:
        where: names the text in messages.
        kind: the error to raise.

    >>> parse_yaml(b"a: [1, x]", "there")
    {'a': [1, 'x']}

    Raises:
        ProjectError: it is not YAML, holds other values, or is beyond a limit (reason "not-yaml").
    """
    from ruamel.yaml import YAML

    values: Any = None
    fault = _size_fault(content, LARGEST)
    try:
        text = "" if fault else content.decode("utf-8-sig")
        if not (fault := fault or _event_fault(text)):
            values = YAML(typ="safe").load(text)
            fault = _value_fault(values)
    except Exception as error:  # besides its own errors, the parser raises whatever a constructor meets
        fault = " ".join(str(error).split())[:400] or type(error).__name__
    if fault:
        raise kind(f"{where}: not valid YAML: {fault}", reason="not-yaml") from None
    return values


def parse_keys(content: bytes, where: str, kind: type[ProjectError] = DataError) -> dict[str, Any]:
    """`parse_yaml` of a text that must hold keys with values."""
    values = parse_yaml(content, where, kind)
    if not isinstance(values, dict):
        raise kind(f"{where}: expected keys with values, found {type(values).__name__}", reason="not-yaml")
    return values


def parse_json(
    content: bytes | str,
    where: str,
    kind: type[ProjectError] = DataError,
    *,
    largest: int = LARGEST,
    unread: Sequence[str] = (),
) -> Any:
    """The plain values of a JSON text; `where` and `kind` as in `parse_yaml`.

    Args:
        unread: keys that are left out, and never held all at once.

    >>> parse_json("[" * 200 + "]" * 200, "there")
    Traceback (most recent call last):
    itm.errors.DataError: there: not valid JSON: more than 100 lists and mappings inside each other

    Raises:
        ProjectError: it is not JSON, or beyond a limit (reason "not-json").
    """
    fault = _size_fault(content, largest)
    try:
        values = None if fault else json.loads(content, object_hook=_without(unread) if unread else None)
        fault = fault or _value_fault(values)
    except (ValueError, RecursionError) as error:
        fault = str(error)[:400]
    if fault:
        raise kind(f"{where}: not valid JSON: {fault}", reason="not-json") from None
    return values


def flatten(values: Mapping[str, Any], separator: str = ".", *, keep_empty: bool = False) -> dict[str, Any]:
    """Nested values under their joined keys; a list is one value, and with `keep_empty` an empty mapping is too.

    >>> flatten({"clean": {"maximum_words": 100}, "seeds": [0, 1], "none": {}})
    {'clean.maximum_words': 100, 'seeds': [0, 1]}
    >>> flatten({"a": {"b": 1, "c": {}}}, "/", keep_empty=True)
    {'a/b': 1, 'a/c': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and (value or not keep_empty):
            inner = flatten(value, separator, keep_empty=keep_empty)
            flat |= {f"{key}{separator}{name}": leaf for name, leaf in inner.items()}
        else:
            flat[str(key)] = value
    return flat


def _without(keys: Sequence[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def kept(found: dict[str, Any]) -> dict[str, Any]:
        for key in keys:
            found.pop(key, None)
        return found

    return kept


_DEEP = f"more than {DEEPEST} lists and mappings inside each other"


def _size_fault(content: bytes | str, largest: int) -> str:
    return f"larger than {size_text(largest)}" if len(content) > largest else ""


def _event_fault(text: str) -> str:
    """Whether the values of a YAML text are too many or too deep."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

    known: dict[str, tuple[int, int]] = {}  # values and height of what an anchor names
    around: list[tuple[str | None, list[int]]] = [(None, [0, 0])]
    for event in YAML(typ="safe").parse(text):
        name = getattr(event, "anchor", None)
        if isinstance(event, CollectionStartEvent):
            if len(around) > DEEPEST:
                return _DEEP
            around.append((name, [1, 1]))
            continue
        if isinstance(event, CollectionEndEvent):
            name, (count, height) = around.pop()
        elif isinstance(event, AliasEvent):
            if name not in known:
                return f"the alias {name} stands for nothing, or for what it lies in"
            count, height = known[name]
        elif isinstance(event, ScalarEvent):
            count, height = 1, 0
        else:
            continue
        if name:
            known[name] = count, height
        above = around[-1][1]
        above[:] = above[0] + count, max(above[1], height + 1)
        if above[0] > MOST:
            return f"more than {MOST:,} values"
        if len(around) - 1 + height > DEEPEST:
            return _DEEP
    return ""


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(values: Any, wanted: str) -> str:
    """Where a text stands, as `images[3].sentences[0].raw`."""
    waiting = [("", values)]
    while waiting:
        place, value = waiting.pop()
        if value is wanted:
            return place.removeprefix(".") or "its beginning"
        if isinstance(value, dict):
            waiting += ((f"{place}.{cut(key, 40)}", each) for key, each in value.items())
        elif isinstance(value, list):
            waiting += ((f"{place}[{number}]", each) for number, each in enumerate(value))
    return "a key"


def _value_fault(values: Any) -> str:
    """What is not plain among values, or too deep."""
    level = [values]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return f"the key {next(key for key in value if not isinstance(key, str))!r:.40} is no text"
                below += value.values()
                below += (key for key in value if not key.isascii())
            elif isinstance(value, list):
                below += value
            elif isinstance(value, int):
                if value.bit_length() > 64:
                    return f"a whole number of {value.bit_length()} bits"
            elif isinstance(value, str):
                if not (value.isascii() or _whole(value)):
                    return f"half a character in {cut(repr(value), 60)}, at {_place(values, value)}"
            elif value is not None and not isinstance(value, float):
                return f"a {type(value).__name__} is neither text nor number"
        if not below:
            return ""
        level = below
    return _DEEP
