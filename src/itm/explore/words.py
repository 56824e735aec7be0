"""How much a text says: d, and each word's share of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itm.errors import DataError
from itm.text.explain import explain, total
from itm.text.tables import read_idf

MISSING = "no table of word frequencies here, so no descriptiveness is shown: run `dvc repro score`"


class Words:
    """Descriptiveness by the idf table of the score stage; without the table it says why there is none."""

    def __init__(self, idf: Path) -> None:
        try:
            self._table = read_idf(idf)
            self.note = ""
            if self._table.parameters.kind == "expected_fit":
                self.note = "d here is the sum of TF-IDF: score.kind expected_fit needs the training captions"
        except DataError as error:
            if error.reason != "missing-file":
                raise
            self._table = None  # type: ignore[assignment]
            self.note = MISSING

    def scores(self, texts: Sequence[str]) -> list[float | None]:
        """d of each text, or None where there is no table."""
        if self._table is None or not texts:
            return [None] * len(texts)
        return [round(float(value), 4) for value in total(texts, self._table)]

    def shares(self, text: str) -> list[dict[str, Any]]:
        """The words of a text with what each adds to d, those that add most first."""
        if self._table is None:
            return []
        documents = self._table.documents
        return [
            {
                "word": share.word,
                "points": round(share.points, 4),
                "why": "stop word"
                if not share.keyword
                else "not in training"
                if not share.document_frequency
                else f"in {share.document_frequency:,} of {documents:,}",
                "times": share.occurrences,
            }
            for share in explain([text], self._table)
        ]
