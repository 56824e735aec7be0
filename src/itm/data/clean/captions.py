"""The caption rules applied to a table: evaluation splits are only normalised, bad training rows go to quarantine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from itm.config.data import CleanParameters
from itm.data.clean.language import other_language
from itm.data.clean.text import fault, normalise, same_text
from itm.data.columns import as_list
from itm.data.readers.base import QUARANTINE_COLUMNS

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
    `clean.language` is english (`itm.data.clean.language.other_language`). What the rules would say of
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
