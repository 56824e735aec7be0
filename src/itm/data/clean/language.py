"""Whether a caption is plainly in another language than English: by its script, or by its function words."""

from __future__ import annotations

import re
import unicodedata

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
