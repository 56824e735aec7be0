"""The text of a requirement: plain and canonical, or varied with synonyms, word orders and openings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itm.data.scenes.chance import Value, happens, pick
from itm.data.scenes.records import Requirement, Slot
from itm.data.scenes.vocabulary import (
    ADJECTIVES,
    BACKGROUND_PHRASES,
    CONVERSE,
    FRAMES,
    NOUNS,
    NUMBERS,
    PLACE_PHRASES,
    RELATION_PHRASES,
    TRAILING,
)

#: How often a wording other than the canonical one is used.
_SYNONYM, _FRAME, _TRAILING, _SWAP = 0.3, 0.25, 0.3, 0.5


def word(requirement: Requirement, rng: np.random.Generator | None = None) -> str:
    """The requirement in words; without a generator the canonical wording, so that one meaning has one text.

    Relations must all start from slot 0, or come alone: "a star left of a heart and above a circle".

    >>> from itm.data.scenes.records import requirement
    >>> word(requirement([{"colour": "red"}, {"colour": "red"}]))
    'two red shapes'
    >>> word(requirement([{"shape": "star"}, {"shape": "heart"}], [(0, "left of", 1)], background="black"))
    'a star left of a heart on a black background'
    """
    slots, relations = requirement.slots, requirement.relations
    if rng is not None and len(relations) == 1 and len(slots) == 2 and happens(rng, _SWAP):
        first, name, second = relations[0]
        relations = ((second, CONVERSE[name], first),)
    several = False
    if relations:
        subject = relations[0][0]
        joined = [f"{_vary(RELATION_PHRASES[name], rng)} {_one(slots[other], rng)}" for _, name, other in relations]
        told = {subject, *(other for _, _, other in relations)}
        text = f"{_one(slots[subject], rng)} {_list(joined)}"
        rest = [_one(slot, rng) for index, slot in enumerate(slots) if index not in told]
        text = ", ".join([text, *rest])
    elif len(slots) > 1 and len(set(slots)) == 1:
        text, several = _many(slots[0], len(slots), rng), True
    else:
        text = _list([_one(slot, rng) for slot in slots])
    if requirement.background:
        text += " " + _vary(BACKGROUND_PHRASES, rng).format(requirement.background)
    if rng is not None and len(text.split()) < 12 and happens(rng, _FRAME):
        text = pick(rng, FRAMES)[several].format(text)
    return text


def _one(slot: Slot, rng: np.random.Generator | None) -> str:
    words = _phrase(slot, rng, plural=False)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _many(slot: Slot, count: int, rng: np.random.Generator | None) -> str:
    return f"{_vary(NUMBERS[count], rng)} {_phrase(slot, rng, plural=True)}"


def _phrase(slot: Slot, rng: np.random.Generator | None, *, plural: bool) -> str:
    """Adjectives, noun and what follows the noun."""
    told = dict(slot)
    texture = told.get("texture", "")
    trailing = TRAILING.get(texture, "") if rng is not None and happens(rng, _TRAILING) else ""
    order = ["size", "texture", "colour"]
    if rng is not None and happens(rng, _TRAILING):
        order = ["size", "colour", "texture"]
    words = [
        _vary(ADJECTIVES[told[name]], rng) for name in order if name in told and not (name == "texture" and trailing)
    ]
    words.append(_vary(NOUNS[told.get("shape", "")], rng)[plural])
    if trailing:
        words.append(trailing)
    if "row" in told or "column" in told:
        words.append(_vary(PLACE_PHRASES[told.get("row", ""), told.get("column", "")], rng))
    return " ".join(words)


def _vary(wordings: Sequence[Value], rng: np.random.Generator | None) -> Value:
    if rng is None or len(wordings) == 1 or not happens(rng, _SYNONYM):
        return wordings[0]
    return pick(rng, wordings[1:])


def _list(parts: Sequence[str]) -> str:
    """The parts joined as in a sentence: "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
