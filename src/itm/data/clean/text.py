"""Normal forms of a caption's text (all splits), and reasons to reject a caption (training split only)."""

from __future__ import annotations

import html
import re
import unicodedata

PLACEHOLDERS = frozenset(
    {
        "broken image",
        "image broken",
        "broken link",
        "image not found",
        "image not available",
        "image unavailable",
        "no image",
        "no image available",
        "no caption",
        "no description",
        "photo unavailable",
        "picture not available",
        "not available",
        "na",
        "none",
        "null",
        "nan",
        "undefined",
        "placeholder",
        "lorem ipsum",
    }
)
"""Texts that describe no image; compared without case and punctuation."""

_QUOTES = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201b": "'",
        "\u2032": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u201f": '"',
        "\u2033": '"',
        "\u00ab": '"',
        "\u00bb": '"',
    }
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_UNUSUAL = re.compile(r"[^\x20-\x7e]|  |&|``|''| \.$|^ | $")
_SPACES = re.compile(r"\s+")
_STRAY_STOP = re.compile(r"(?: \.)+$")
_NOT_WORD = re.compile(r"[^\w\s]+")
_LONGEST = 32
"""Characters a word of a caption may have on average, were it as many words as allowed: none hides in one long word."""


def normalise(text: str) -> str:
    """The caption with one form for what is written in many: nothing is said more or less.

    HTML entities become characters, characters their composed form (NFC), typographic and doubled quotes straight
    ones; control and invisible characters go; runs of white space and line breaks become one space; a final full
    stop that stands alone goes. Applying it twice changes nothing.

    >>> normalise(" A  man\\u2019s dog &amp; cat\\n on grass .")
    "A man's dog & cat on grass"
    >>> normalise("``Stop'' sign")
    '"Stop" sign'
    """
    if _UNUSUAL.search(text) is None:
        return text
    before = None
    while before != text:  # "&amp;amp;" and " . ." need more than one pass
        before = text
        text = _once(text)
    return text


def _once(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_QUOTES)
    text = text.replace("``", '"').replace("''", '"')
    if not text.isprintable():
        text = "".join(_visible(character) for character in text)
    return _STRAY_STOP.sub("", _SPACES.sub(" ", text).strip())


def _visible(character: str) -> str:
    """The character, a space for white space, or nothing for control, invisible and unassigned characters."""
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn") else character


def same_text(text: str) -> str:
    """The text without case and punctuation: two captions with the same are repetitions.

    >>> same_text("A dog runs.") == same_text("a dog  runs")
    True
    """
    return " ".join(_NOT_WORD.sub(" ", text).casefold().split())


def fault(text: str, maximum_words: int, minimum_letters: int) -> str:
    """Why a normalised caption is no description: a reason code, or "" for a good one.

    Codes: empty, placeholder, too-short (fewer letters than `minimum_letters`), too-long (more words than
    `maximum_words`, or more than 32 characters for each of them).

    >>> [fault(text, 100, 2) for text in ("", "A", "Broken image.", "A dog", "A" + 3200 * "a")]
    ['empty', 'too-short', 'placeholder', '', 'too-long']
    """
    if not text:
        return "empty"
    if len(text) <= 24 and same_text(text) in PLACEHOLDERS:
        return "placeholder"
    if len(text) < 4 * minimum_letters and sum(map(str.isalpha, text)) < minimum_letters:
        return "too-short"
    if text.count(" ") >= maximum_words or len(text) > _LONGEST * maximum_words:
        return "too-long"
    return ""
