"""Calibrators fitted on short parts of captions too, and truth of short texts: for grade_photos.py.

A part is how a caption begins, up to a word that adds something: "a dog", "a dog runs", "a dog runs across a field" are
parts of "a dog runs across a field with a ball", and so is the noun that it begins with, "dog". What is true of an
image is true in part. The rules are ours, without a parser: wrong now and then ("a hot" of "a hot and tired man").
Parts of more than three words are as descriptive as some captions, but stand out less: calibrators of captions suffer
from them, so that only shorter ones are fitted on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from grade_figures import Doubles, Similarities, Split
from numpy.typing import NDArray

import itm
from itm.data.annotations import content_of, records_of
from itm.data.layout import DEV_EMBEDDINGS
from itm.data.readers.hierarcaps import photo_id
from itm.grading import Calibrator, fit_calibrator
from itm.grading.texts import describe
from itm.metrics import calibration_of
from itm.vectors.pipeline import read_embeddings


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words("a an the one two three four five six some several many his her its their this that no")
LINKS = _words(
    "in on at with without near by beside behind under over through across into onto out from for to along against "
    "around between among above below toward towards down up off during while whilst after before past inside outside "
    "underneath beneath about as and or but that which who whose where when is are was were be being has have had s "
    "then next"
)
"""A caption is cut before these, and a part does not end in one, or in a determiner."""
SHORT = 3
"""Words of the longest parts that calibrators are fitted on."""
NO_VERBS = _words(
    "building wedding string something nothing anything king ring evening morning clothing railing ceiling wing spring "
    "thing painting sling sting"
)


def parts(text: str) -> list[str]:
    """The parts of a caption, the shortest first; none of a caption that has nothing to cut.

    >>> parts("A black dog is running after a white dog .")
    ['dog', 'A black dog', 'A black dog is running']
    """
    tokens = re.findall(r"[^\s,;.!?]+|,", text)
    words = [each for each in tokens if each != ","]
    after_comma = {at - number for number, at in enumerate(n for n, each in enumerate(tokens) if each == ",")}
    singular = bool(words) and words[0].lower() in ("a", "an", "one")
    found: list[str] = []
    for place in range(1, len(words)):
        word, before = words[place].lower(), words[place - 1].lower()
        if before in LINKS or before in DETERMINERS or before == "of":
            continue
        participle = word.endswith("ing") and word not in NO_VERBS
        verb = singular and not found and re.search(r"[a-z]{2}s$", word) and not re.search(r"(ss|us|is|'s)$", word)
        aside = place in after_comma and word in DETERMINERS
        if word in LINKS or participle or verb or aside:
            part = " ".join(words[:place])
            found += [before, part] if not found and place > 1 else [part]
    return found


def parts_of(split: Split) -> tuple[list[str], NDArray[np.int64]]:
    """The parts of a split's captions and the images that they are of, each text once an image."""
    pairs = dict.fromkeys(
        (part.lower() if " " not in part else part, image)
        for text, image in zip(split.tables.texts, split.owners.tolist(), strict=True)
        for part in parts(text)
    )
    return [text for text, _ in pairs], np.array([image for _, image in pairs], dtype=np.int64)


class Parts:
    """Parts of the captions of dev with their d, and similarities of a model with them."""

    def __init__(self, project: Path, dev: Split) -> None:
        self.project, self.dev = project, dev
        self.texts, self.owners = parts_of(dev)
        self.d = describe(self.texts, dev.idf)
        self.words = np.array([len(text.split()) for text in self.texts])
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def similarities(self, run: str, lift: float) -> Doubles:
        """[images, parts] similarities of a trained model; `lift` as in `Similarities.read`, of own pairs."""
        distinct, place = np.unique(self.texts, return_inverse=True)
        if run not in self._vectors:
            self._vectors[run] = itm.load(self.project / f"models/{run}").text_vectors(distinct.tolist())
        text = self._vectors[run][place]
        image = read_embeddings(self.project / f"embeddings/{run}", DEV_EMBEDDINGS).images(self.dev.images)
        s = image.astype(np.float64) @ text.T.astype(np.float64)
        s[self.owners, np.arange(len(self.owners))] += lift * s.std()
        return s

    def fit(self, captions: Similarities, of_parts: Doubles, anchor: float) -> Calibrator:
        """On captions and short parts."""
        every = np.ones(len(self.dev.images), dtype=bool)
        return _fit([self._captions(captions), self._parts(of_parts, self.words <= SHORT)], every, anchor)

    def held_out(self, captions: Similarities, of_parts: Doubles, anchor: float) -> dict[str, tuple[float, float]]:
        """Log loss of calibrators of half of dev's images on the other half: fitted without parts, and with them.

        Of telling own pairs from as many random ones, each caption weighing the same: 0.693 where nothing is told.
        """
        images = np.arange(len(self.dev.images)) % 2 == 0
        table = {
            "captions": self._captions(captions),
            "parts of 1 word": self._parts(of_parts, self.words == 1),
            "of 2 and 3": self._parts(of_parts, (self.words > 1) & (self.words <= SHORT)),
            "of more": self._parts(of_parts, self.words > SHORT),
        }
        short = self._parts(of_parts, self.words <= SHORT)
        fits = [_fit(found, images, anchor) for found in ([table["captions"]], [table["captions"], short])]
        rest = {name: _half(*each, ~images) for name, each in table.items()}
        return {name: (_loss(fits[0], *each), _loss(fits[1], *each)) for name, each in rest.items() if len(each[1])}

    def _captions(self, captions: Similarities) -> Pairs:
        return captions.s, self.dev.owners, self.dev.d, np.ones(len(self.dev.d), dtype=bool)

    def _parts(self, of_parts: Doubles, kept: NDArray[np.bool_]) -> Pairs:
        return of_parts, self.owners, self.d, kept


Pairs = tuple[Doubles, NDArray[np.int64], Doubles, NDArray[np.bool_]]
"""Similarities with texts, their images and d, and which of the texts count."""


def _half(
    s: Doubles, owners: NDArray[np.int64], d: Doubles, kept: NDArray[np.bool_], images: NDArray[np.bool_]
) -> tuple[Doubles, NDArray[np.int64], Doubles]:
    """What belongs to some images."""
    columns = images[owners] & kept
    return s[np.ix_(images, columns)], (np.cumsum(images) - 1)[owners[columns]], d[columns]


def _fit(tables: Iterable[Pairs], images: NDArray[np.bool_], anchor: float) -> Calibrator:
    halves = [_half(*each, images) for each in tables]
    s, owners, d = (np.concatenate(part, axis=-1) for part in zip(*halves, strict=True))
    return fit_calibrator(s, owners, d, model="", idf="", anchor=anchor)


RISE = 0.01


def better(runs: Sequence[dict[str, tuple[float, float]]]) -> bool:
    """Whether fitting on parts proves better: in every run short parts are told better, and captions by less than
    `RISE` worse."""
    return all(
        after < before if name != "captions" else after < before + RISE
        for one in runs
        for name, (before, after) in one.items()
        if name != "of more"
    )


def _loss(calibrator: Calibrator, s: Doubles, owners: NDArray[np.int64], d: Doubles) -> float:
    far = -50.0  # so rare that the cap does not bend: what is left is the log ratio itself
    ratio = replace(calibrator, log_prior=np.full(len(calibrator.knots), far)).grade(s, d, 1.0)
    own = ratio[owners, np.arange(len(owners))]
    return float((np.logaddexp(0, -own).mean() + np.logaddexp(0, ratio).mean()) / 2)


def said_of(split: Split, coco: Path | None) -> NDArray[np.bool_]:
    """[images, texts of chains] whether all keywords of a text are said of the image: by its own four texts, or COCO.

    What is said is true; what is not said may be true all the same, less often the more captions speak of the image.
    """
    image_ids, chains, text_ids, _ = split.chains
    text = dict(zip(split.tables.hierarchies["text_id"], split.tables.hierarchies["text"], strict=True))
    images, owner = np.unique(image_ids, return_inverse=True)
    words = [_keywords(text[one], split) for one in text_ids]
    said: list[set[str]] = [set() for _ in images]
    for image, chain in zip(owner, chains, strict=True):
        said[image].update(*(words[one] for one in chain))
    if coco is not None:
        place = {name: at for at, name in enumerate(images)}
        for record in records_of(content_of(coco), str(coco), coco.name, "annotations"):
            if (at := place.get(photo_id(record["image_id"]))) is not None:
                said[at] |= _keywords(record["caption"], split)
    truth = np.array([[bool(each) and each <= own for each in words] for own in said])
    truth[np.repeat(owner, chains.shape[1]), chains.ravel()] = True
    return truth


def _keywords(text: str, split: Split) -> set[str]:
    """Words that are no stop words, without a plural's ending."""
    words = re.findall(r"[a-z]+", text.lower())
    plain = {word[:-1] if re.search(r"[^su]s$", word) and len(word) > 3 else word for word in words}
    return plain - LINKS - DETERMINERS - {"of"}


LEVELS = ("said", "stated", "own", "ece", "brier")


def by_level(p: Doubles, truth: NDArray[np.bool_], split: Split) -> list[dict[str, float]]:
    """Of each level's distinct texts with all images: shares said and stated, P of own texts, ECE and Brier."""
    image_ids, chains, _, _ = split.chains
    _, owner = np.unique(image_ids, return_inverse=True)
    found = []
    for level in range(chains.shape[1]):
        texts = np.unique(chains[:, level])
        said, stated = truth[:, texts], p[:, texts]
        fit = calibration_of(stated, said)
        own = float(p[owner, chains[:, level]].mean())
        values = float(said.mean()), float(stated.mean()), own, fit.ece, fit.brier
        found.append(dict(zip(LEVELS, values, strict=True)))
    return found


def mean_levels(runs: Sequence[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Means over seeds."""
    return [
        {name: float(np.mean([one[name] for one in level])) for name in LEVELS} for level in zip(*runs, strict=True)
    ]
