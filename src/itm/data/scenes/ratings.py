"""Rated pairs in the manner of Crisscrossed Captions, with exact scores instead of human ones.

| kind | pairs | sampling | pairs of a query |
|---|---|---|---|
| sits | caption, image | c2i_original: the captions of the image | all |
| | | c2i_spread: captions of other images | 4 |
| sts | caption, caption | c2c_cocaption: two captions of one image | 2 |
| | | c2c_nearest, c2c_spread: captions of other images | 1, 2 |
| sis | image, image | i2i_nearest, i2i_spread: other images | 2, 3 |

Nearest pairs are the most similar ones; spread pairs are drawn so that scores cover 0 to 5 about evenly, where
pairs at random would mostly score low. At most QUERIES images are asked about (`c2i_original`: all).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.scenes.chance import Use, generator
from itm.data.scenes.logic import requirement_facts, scene_facts
from itm.data.scenes.records import Scene
from itm.data.scenes.truth import grade, similarity, similarity_of_pairs
from itm.data.tables import TRUE

QUERIES = 1000
#: Candidates among which the pairs of one query are chosen.
_CANDIDATES = 256

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


def ratings(
    scenes: Sequence[Scene], caption_ids: NDArray[np.int64], seed: int, grades: NDArray[np.float32] | None = None
) -> pd.DataFrame:
    """The rated pairs of a split, columns as in ratings.parquet; `caption_ids` follow the scenes' captions in order.

    `grades` is `grade` of these captions and scenes, when it is at hand. No pair comes twice, in either order.
    """
    rng = generator(seed, Use.RATINGS, scenes[0].split)
    requirements = [caption.requirement for scene in scenes for caption in scene.captions]
    grades = grade(requirements, scenes) if grades is None else grades
    owner = np.repeat(np.arange(len(scenes)), [len(scene.captions) for scene in scenes])
    names = np.array([scene.image_id for scene in scenes], dtype=object)
    asked = np.sort(rng.permutation(len(scenes))[:QUERIES])
    itself = np.eye(len(asked), dtype=bool)

    every = np.arange(len(owner))
    image, caption = _spread(grades[asked], owner[None, :] == asked[:, None], 4, rng)
    tables = [
        _table("sits", "c2i_original", grades[owner, every], caption_ids[every], names[owner]),
        _table("sits", "c2i_spread", grades[asked[image], caption], caption_ids[caption], names[asked[image]]),
    ]

    captions = requirement_facts(requirements)
    chosen = np.array([rng.permutation(np.flatnonzero(owner == image))[:3] for image in asked])
    for other in (1, 2):
        scores = similarity_of_pairs(captions[chosen[:, 0]], captions[chosen[:, other]])
        tables.append(_table("sts", "c2c_cocaption", scores, caption_ids[chosen[:, 0]], caption_ids[chosen[:, other]]))
    facts = captions[chosen[:, 0]]
    tables += _others("sts", "c2c", similarity(facts, facts), itself, caption_ids[chosen[:, 0]], (1, 2), rng)

    facts = scene_facts([scenes[image] for image in asked])
    tables += _others("sis", "i2i", similarity(facts, facts), itself, names[asked], (2, 3), rng)
    return pd.concat(tables, ignore_index=True)


def _others(
    kind: str,
    sampling: str,
    alike: NDArray[np.float32],
    itself: NDArray[np.bool_],
    ids: NDArray[np.int64] | NDArray[np.object_],
    counts: tuple[int, int],
    rng: np.random.Generator,
) -> list[pd.DataFrame]:
    """The nearest and the spread pairs of things of one kind, without those that came before in either order."""
    tables, seen = [], np.zeros_like(itself)
    for name, choose, count in (("nearest", _nearest, counts[0]), ("spread", _spread, counts[1])):
        first, second = choose(alike, itself | seen, count, rng)
        low, high = np.minimum(first, second), np.maximum(first, second)
        new = np.sort(np.unique(low * len(ids) + high, return_index=True)[1])
        first, second = first[new], second[new]
        seen[first, second] = seen[second, first] = True
        tables.append(_table(kind, f"{sampling}_{name}", alike[first, second], ids[first], ids[second]))
    return tables


def _nearest(scores: NDArray[np.float32], excluded: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Pairs:
    """For each row the `count` columns with the largest scores, ties in random order."""
    # Scores are 5 times a fraction of small whole numbers: two that differ do so by far more than this.
    jitter = rng.random(scores.shape[1], dtype=np.float32) * np.float32(1e-4)
    ranked = np.argsort(np.where(excluded, -1.0, scores + jitter), axis=1, kind="stable")
    return _allowed(ranked[:, ::-1][:, :count], excluded)


def _spread(scores: NDArray[np.float32], excluded: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Pairs:
    """For each row `count` columns whose scores lie near random points of `count` equal parts of 0..5."""
    rows = np.arange(len(scores))
    candidates = rng.integers(0, scores.shape[1], size=(len(rows), min(_CANDIDATES, scores.shape[1])))
    found = np.take_along_axis(scores, candidates, axis=1)
    barred = np.take_along_axis(excluded, candidates, axis=1)
    picked = []
    for part in range(count):
        target = (TRUE / count * (part + rng.random(len(rows)))).astype(np.float32)
        best = candidates[rows, np.argmin(np.where(barred, np.inf, abs(found - target[:, None])), axis=1)]
        picked.append(best)
        barred |= candidates == best[:, None]
    return _allowed(np.stack(picked, axis=1), excluded)


def _allowed(columns: NDArray[np.intp], excluded: NDArray[np.bool_]) -> Pairs:
    """The pairs (row, column) that are not excluded and do not come twice in a row: a tiny split may run out."""
    rows = np.repeat(np.arange(len(columns)), columns.shape[1])
    pairs = np.stack([rows, columns.ravel()], axis=1)[~excluded[rows, columns.ravel()]]
    kept = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
    return pairs[kept, 0], pairs[kept, 1]


def _table(
    kind: str,
    sampling: str,
    scores: NDArray[np.float32],
    first: NDArray[np.int64] | NDArray[np.object_],
    second: NDArray[np.int64] | NDArray[np.object_],
) -> pd.DataFrame:
    nothing = pd.Series([None] * len(scores))
    of_captions = {"sts": ("caption_id_1", "caption_id_2"), "sits": ("caption_id_1",), "sis": ()}[kind]
    of_images = {"sts": (), "sits": ("image_id_1",), "sis": ("image_id_1", "image_id_2")}[kind]
    named = dict(zip((*of_captions, *of_images), (first, second), strict=True))
    return pd.DataFrame(
        {
            "kind": kind,
            **{name: pd.Series(named.get(name, nothing), dtype="Int64") for name in ("caption_id_1", "caption_id_2")},
            **{name: pd.Series(named.get(name, nothing), dtype="string") for name in ("image_id_1", "image_id_2")},
            "score": scores.astype(np.float64),
            "sampling": sampling,
            "judge": np.full(len(scores), -1, dtype=np.int8),
        }
    )
