"""Graded matches of a text or a photo, for each of the models that are looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.decode import square
from itm.data.layout import CAPTIONS
from itm.data.tables import read_captions, read_hierarchies, read_images
from itm.errors import DataError, printable
from itm.explore.ranking import FIRST, Ranked, Ranker, View
from itm.explore.walk import Walker, Words
from itm.index.gallery import Gallery, embed_gallery
from itm.model import Model

Floats = NDArray[np.float32]
LONGEST_TEXT = 1000


@dataclass
class Texts:
    """What photos are matched with: distinct captions, distinct texts of the walk, and each image's own captions."""

    captions: Sequence[str]
    walk: Sequence[str]
    own: dict[str, list[str]]


def read_known_texts(clean: Path, splits: Sequence[str]) -> Texts:
    """The texts of some splits of the clean tables; none where there are no tables.

    The walk goes through the generic-to-specific chains of the splits' images, or through their captions where the
    data set has no chains.
    """
    if not (clean / CAPTIONS).is_file():
        return Texts([], [], {})
    table = read_captions(clean, ["image_id", "split", "text"])
    table = table[table["split"].isin(splits)]
    own: dict[str, list[str]] = {}
    for image, text in zip(table["image_id"].astype(str), table["text"], strict=True):
        own.setdefault(image, []).append(text)
    images = read_images(clean, ["image_id", "split"])
    shown = images.loc[images["split"].isin([*splits, "hierarcaps"]), "image_id"]
    chains = read_hierarchies(clean)
    chains = chains[chains["image_id"].isin(shown)]
    captions = list(dict.fromkeys(table["text"]))
    return Texts(captions, list(dict.fromkeys(chains["text"])) or captions, own)


class Side:
    """One model with the vectors of all images and texts that are shown."""

    def __init__(
        self,
        model: Model,
        gallery: Gallery,
        texts: Texts,
        threads: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.model, self.name = model, printable(model.name)
        self.rows, self.images, self.broken = embed_gallery(gallery, model, threads, progress)
        self.captions = model.text_vectors(texts.captions)
        self.ranker = Ranker(model, list(texts.captions))
        self._walker = None
        if texts.walk:
            self._walker = Walker(texts.walk, model.text_vectors(texts.walk), model.encode_texts([""]).vectors[0])

    def walk(self, image: Floats, words: Words) -> list[dict[str, Any]]:
        """The texts met from the generic end to an image vector, with d."""
        steps = self._walker.to(image) if self._walker else []
        described = words.descriptiveness([step.text for step in steps])
        return [
            {"text": step.text, "radius": round(step.radius, 4), "similarity": round(step.similarity, 4), "d": d}
            for step, d in zip(steps, described, strict=True)
        ]


class Explorer:
    """Answers of all sides to one question; calls may come from several threads."""

    def __init__(self, sides: Sequence[Side], gallery: Gallery, texts: Texts, words: Words) -> None:
        self.sides, self.gallery, self.texts, self.words = sides, gallery, texts, words
        self._lock = threading.Lock()

    def of_text(self, text: str, view: View = FIRST) -> dict[str, Any]:
        """Images for a text, the walk to the best of them, and how much the text says.

        Raises:
            DataError: the text is empty or longer than `LONGEST_TEXT` characters.
        """
        text = text.strip()
        if not text:
            raise DataError("type a text first", reason="empty-text")
        if len(text) > LONGEST_TEXT:
            raise DataError(
                f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} are taken", reason="long-text"
            )
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError("the text holds half a character (a lone surrogate)", reason="not-text")
        models = []
        with self._lock:
            for side in self.sides:
                (query,) = side.model.encode_texts([text]).vectors
                similarities = side.images @ query
                found = side.ranker.images(similarities, text, view)
                results = [
                    self._image(int(side.rows[place])) | facts
                    for place, facts in zip(found.places, found.facts, strict=True)
                ]
                best = int(np.argmax(similarities))
                walk = side.walk(side.images[best], self.words)
                models.append(_answer(side, results, found, walk, self._image(int(side.rows[best]))["name"]))
        (described,) = self.words.descriptiveness([text])
        query_facts = {"kind": "text", "text": text, "d": described, "shares": self.words.shares(text)}
        return {"query": query_facts, "models": models, "of": len(self.gallery.names), "note": self.words.note}

    def of_photo(self, content: bytes, name: str, view: View = FIRST) -> dict[str, Any]:
        """Captions for an encoded photo, and the walk to it.

        Raises:
            DataError: the photo cannot be decoded.
        """
        sizes = {side.model.towers.image_size for side in self.sides}
        squares = {size: square(content, size) for size in sizes}
        models = []
        with self._lock:
            for side in self.sides:
                (query,) = side.model.encode_images([squares[side.model.towers.image_size]]).vectors
                models.append(self._captions(side, query, name, view))
        return self._photo_answer(models, name, None)

    def of_image(self, row: int, view: View = FIRST) -> dict[str, Any]:
        """Captions for an image of the gallery, and the walk to it.

        Raises:
            DataError: there is no such image, or it could not be read.
        """
        places = [np.flatnonzero(side.rows == row) for side in self.sides]
        if not all(len(place) for place in places):
            raise DataError(f"no image {row} among {len(self.gallery.names)}", reason="unknown-image")
        name = self.gallery.names[row]
        models = [
            self._captions(side, side.images[place[0]], name, view)
            for side, place in zip(self.sides, places, strict=True)
        ]
        return self._photo_answer(models, name, row)

    def _captions(self, side: Side, image: Floats, name: str, view: View) -> dict[str, Any]:
        walk = side.walk(image, self.words)
        if not len(side.captions):
            return _answer(side, [], Ranked([], [], 0, None, ""), walk, printable(name))
        found = side.ranker.captions(side.captions @ image, view)
        texts = [self.texts.captions[place] for place in found.places]
        own = set(self.texts.own.get(name, ()))
        described = self.words.descriptiveness(texts)
        results = [
            {"text": text, "d": d, "own": text in own} | facts
            for text, d, facts in zip(texts, described, found.facts, strict=True)
        ]
        return _answer(side, results, found, walk, printable(name))

    def _photo_answer(self, models: list[dict[str, Any]], name: str, row: int | None) -> dict[str, Any]:
        note = self.words.note
        if not self.texts.captions:
            note = "no captions are here to match a photo with; run the pipeline, or name tables with --captions"
        query = {"kind": "photo", "name": printable(name), "row": row}
        return {"query": query, "models": models, "of": len(self.texts.captions), "note": note}

    def _image(self, row: int) -> dict[str, Any]:
        name = self.gallery.names[row]
        return {
            "row": row,
            "name": printable(name),
            "caption": max(self.texts.own.get(name, []), key=len, default=""),
        }


def _answer(
    side: Side, results: list[dict[str, Any]], found: Ranked, walk: list[dict[str, Any]], walk_to: str
) -> dict[str, Any]:
    return {
        "name": side.name,
        "results": results,
        "listed": found.listed,
        "matches": found.matches,
        "about": found.about,
        "walk": walk,
        "walk_to": walk_to,
    }
