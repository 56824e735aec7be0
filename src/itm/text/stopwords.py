"""Words that carry no content of their own: what `keywords: content` leaves out.

Function words of English by class, and the letters that contractions leave behind. Kept as content on
purpose: numbers, colours and sizes, "no" and "without" (they change which images fit), and words that
place objects against each other ("left", "above", "behind", "between", "under").
"""

from __future__ import annotations

_CLASSES = {
    "articles and determiners": "a an the this that these those some any each every either neither such",
    "pronouns": """i me my mine myself we us our ours ourselves you your yours yourself he him his himself she her hers
        herself it its itself they them their theirs themselves who whom whose which what there here""",
    "auxiliaries": """am is are was were be been being do does did doing done have has had having
        can could may might must shall should will would""",
    "conjunctions": "and or but nor so if while as than then when where because though although",
    "plain prepositions": "of to in on at by for from with into onto",
    "fillers": "just very also too only other another same own",
    "left by apostrophes": "s t d m ll re ve don doesn didn isn aren wasn weren hasn haven couldn wouldn shouldn",
}

STOP_WORDS: frozenset[str] = frozenset(word for words in _CLASSES.values() for word in words.split())
"""All of them, as `itm.text.tokens` writes words."""
