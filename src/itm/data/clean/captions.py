"""The caption rules applied to a table: evaluation splits are only normalised, bad training rows go to quarantine."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from itm.config.data import CleanParameters
from itm.data.clean.text import fault, normalise, same_text
from itm.data.readers.base import QUARANTINE_COLUMNS
from itm.data.tables import as_list

TRAIN = "train"


@dataclass
class CleanCaptions:
    """The kept captions with `text`, the rejected rows, and counts for the quality report."""

    table: pd.DataFrame
    rejected: pd.DataFrame
    figures: dict[str, Any] = field(default_factory=dict)


def clean_captions(captions: pd.DataFrame, parameters: CleanParameters) -> CleanCaptions:
    """Captions with their normalised `text`; rows keep their order.

    Only training rows are rejected, with the codes of `itm.data.clean.text.fault`, or "repeated" for a text that
    another caption of the same image has already said (without case and punctuation), or "other-language" where
    `clean.language` is english (`itm.data.clean.captions.other_language`). What the rules would say of
    evaluation rows is counted under `evaluation_flags`; those rows stay, since published numbers count them.
    """
    raw = as_list(captions["raw_text"])
    texts = [normalise(text) for text in raw]
    is_train = (captions["split"] == TRAIN).to_numpy()
    images = as_list(captions["image_id"])
    reasons = [fault(text, parameters.maximum_words, parameters.minimum_letters) for text in texts]
    if parameters.language == "english":
        reasons = [
            reason or ("other-language" if other_language(text) else "")
            for reason, text in zip(reasons, texts, strict=True)
        ]
    _mark_repeated(texts, images, reasons)
    flagged = np.array([reason != "" for reason in reasons], dtype=bool)
    dropped = flagged & is_train
    if not parameters.drop_repeated:
        dropped &= np.array([reason != "repeated" for reason in reasons], dtype=bool)
    positions = np.flatnonzero(dropped)
    rejected = captions.iloc[positions]
    quarantine = pd.DataFrame(
        {
            "source": rejected["source"],
            "row": rejected["row"],
            "reason": [reasons[p] for p in positions],
            "text": rejected["raw_text"],
            "image_id": rejected["image_id"],
        }
    )
    table = captions.assign(text=texts)[~dropped].reset_index(drop=True)
    evaluation = Counter(reasons[p] for p in np.flatnonzero(flagged & ~is_train))
    figures = {
        "normalised": _per_split(captions["split"], [text != before for text, before in zip(texts, raw, strict=True)]),
        "rejected": dict(sorted(Counter(reasons[p] for p in positions).items())),
        "evaluation_flags": dict(sorted(evaluation.items())),
        "same_text_on_several_images": _shared(texts, images),
    }
    return CleanCaptions(table, quarantine[list(QUARANTINE_COLUMNS)].reset_index(drop=True), figures)


def _mark_repeated(texts: list[str], images: list[str], reasons: list[str]) -> None:
    """Set the reason of captions that repeat an earlier one of their image."""
    said: set[tuple[str, str]] = set()
    for row, (text, image) in enumerate(zip(texts, images, strict=True)):
        if reasons[row]:
            continue
        key = (image, same_text(text))
        if key in said:
            reasons[row] = "repeated"
        said.add(key)


def _per_split(splits: pd.Series, marks: list[bool]) -> dict[str, int]:
    counts = pd.Series(marks).groupby(splits.to_numpy(dtype=object)).sum()
    return {str(split): int(count) for split, count in counts.items()}


def _shared(texts: list[str], images: list[str]) -> int:
    """How many captions have a text that also belongs to another image (they stay: both may be right)."""
    first: dict[str, str] = {}
    shared: set[str] = set()
    for text, image in zip(texts, images, strict=True):
        if first.setdefault(text, image) != image:
            shared.add(text)
    return sum(text in shared for text in texts)


_ENGLISH = """
    a an the of on at in to by with and or is are was were be has have for from as up out off down over under into onto
    near next behind front while that this there their his her its he she they it some two three who which several
    through around across along between above below against toward towards
"""
_OTHERS = """
    der das dem ein eine einen einem einer und mit auf von vor zu im ist sind neben hinter durch zwei
    het een op met voor naar zijn wordt aan bij uit twee naast
    le la les un une des dans avec et est sont du au aux qui sous devant deux leur
    el los las una unos unas con del en por para esta estan sobre que se dos junto
    um uma na nas em da das ao pela pelo duas
    il gli uno di che nel nella sul sulla della dei sono due alla accanto
    och ett med som av pa et ved foran
"""
"""Of German, Dutch, French, Spanish, Portuguese, Italian, Swedish, Danish and Norwegian, without accents; none that is
an English word too (die, van, door, den, com, son)."""

_ENGLISH_WORDS, _OTHER_WORDS = frozenset(_ENGLISH.split()), frozenset(_OTHERS.split())
_WORD = re.compile(r"[^\W\d_]+")
_FEWEST = 2


def other_language(text: str) -> bool:
    """Whether a caption is plainly not English.

    Either more than half of its letters are not Latin, or it holds at least two function words of the nine other
    languages listed here and more of them than of English ones. Texts of a few words ("Dos perros corren"), names and
    other languages in Latin letters pass: the rule is made to lose no English caption, not to find every other one.

    >>> [other_language(text) for text in ("Ein Hund auf der Wiese", "Two men at the Tour de France", "собака")]
    [True, False, True]
    """
    if not text.isascii():
        letters = [character for character in text if character.isalpha()]
        if 2 * sum(not unicodedata.name(character, "").startswith("LATIN") for character in letters) > len(letters):
            return True
    words = _WORD.findall(_plain(text.lower() if text.isupper() else text))
    # a capital letter inside a sentence is a name's: "Las Vegas", "Los Angeles"
    others = sum(word in _OTHER_WORDS for word in [word.lower() for word in words[:1]] + words[1:])
    return others >= _FEWEST and others > sum(word.lower() in _ENGLISH_WORDS for word in words)


def _plain(text: str) -> str:
    """The text without accents, as function words are often written."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
