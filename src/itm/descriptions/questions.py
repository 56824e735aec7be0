"""Questions to a captioner, and its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd


@dataclass(frozen=True)
class Picture:
    """An image to describe. row: of images.parquet; sha256: of its bytes, the same for copies."""

    row: int
    image_id: str
    split: str
    sha256: str


def pictures_of(images: pd.DataFrame) -> list[Picture]:
    """The pictures of images.parquet, in its order."""
    columns = (images[name].tolist() for name in ("image_id", "split", "sha256"))
    return [Picture(row, *facts) for row, facts in enumerate(zip(*columns, strict=True))]


@dataclass(frozen=True)
class Question:
    """One question about one picture; `key` names it in the journal, `seed` its sample."""

    key: str
    picture: Picture
    prompt: str
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What was said, and the tokens that it took; 0 where not told.

    fault: why it is no description, '' where it is one; `text` is then what came, as it came.
    """

    text: str
    tokens_read: int = 0
    tokens_written: int = 0
    fault: str = ""


def said(text: str, tokens_read: int = 0, tokens_written: int = 0) -> Answer:
    """The answer of a model that said a text: on one line, and sound or not.

    >>> said(" A dog. \\n"), said(" ").fault, said("\\ud800").fault
    (Answer(text='A dog.', tokens_read=0, tokens_written=0, fault=''), 'an empty text', 'half a character')
    """
    text = " ".join(text.split())
    fault = "" if text else "an empty text"
    if any("\ud800" <= character <= "\udfff" for character in text):  # a lone surrogate, which no file can hold
        fault = "half a character"
    return Answer(text, tokens_read, tokens_written, fault)


@dataclass(frozen=True)
class Failure:
    """No answer. final: asking again is useless (the model refuses this image)."""

    reason: str
    final: bool = False


class Asked(Protocol):
    """A model that answers questions about pictures, in whatever order it likes."""

    name: str
    """What `generator` says in the descriptions."""

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer | Failure]]:
        """Each question with its answer, as soon as it is there."""
        ...
