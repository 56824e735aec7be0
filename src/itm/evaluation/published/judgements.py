"""Flickr8k-Expert and Flickr8k-CF: agreement of the similarity with human judgements."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm.data.annotations import content_of, lines_of
from itm.data.flickr8k_texts import CROWD, EXPERT
from itm.errors import DataError, first_few, shown
from itm.evaluation.benchmarks.cxc import Ratings
from itm.evaluation.benchmarks.judgements import judge
from itm.evaluation.published import pairs, sources
from itm.evaluation.published.report import Report
from itm.evaluation.result import id_hash
from itm.vectors import Gallery, Vectors, left_out, read_similarity

FILES = {"flickr8k-expert": EXPERT, "flickr8k-crowdflower": CROWD}
LINES = {"flickr8k-expert": 5822, "flickr8k-crowdflower": 47830}


def evaluate(vectors: Vectors, name: str, folder: Path | None, *, normalize: bool) -> Report:
    """Kendall's tau-c and tau-b, Spearman's rho and nDCG against the judgements on the test split."""
    gallery = pairs.read_gallery("flickr8k", folder)
    similarity = read_similarity(vectors, gallery, normalize)
    if not similarity.paired:
        return Report(left_out=[left_out(name, similarity)])
    kind = name.removeprefix("flickr8k-")
    ratings = read_ratings(pairs.find_flickr8k(folder), name, gallery)
    found = judge(kind, ratings, similarity.pairs().exact(ratings.second, ratings.first), gallery.owners)
    report = Report({name: found.metrics})
    images, numbers = gallery.image_ids[found.per_pair["image"]], np.arange(len(found.caption))
    kept = ~found.per_pair["own"] if kind == "expert" else np.ones(len(numbers), dtype=bool)
    for metric, values in (("model_score", found.per_pair["model"]), ("rating", found.per_pair["grade"])):
        report.values(name, "pairs", metric, values[kept], numbers[kept], images[kept])
    report.protocol |= {
        "images": len(gallery.image_ids),
        "captions": len(gallery.caption_ids),
        "caption_id_hash": id_hash(gallery.caption_ids),
        "pairs": found.counts,
    }
    return report


def read_ratings(path: Path, name: str, gallery: Gallery) -> Ratings:
    """The judgements on pairs of the gallery: of an expert pair all three, of the crowd the share of "yes".

    Raises:
        DataError: a line has another form.
    """
    lines = lines_of(content_of(path, FILES[name]), f"{path}: {FILES[name]}")
    if len(gallery.image_ids) == 1000:
        sources.check_count(path, f"judged pairs of {FILES[name]}", len(lines), LINES[name])
    images = {photo: place for place, photo in enumerate(gallery.photos)}
    captions = {caption: place for place, caption in enumerate(gallery.names("caption"))}
    judged: list[tuple[int, int, float]] = []
    outside, wrong = 0, []
    for number, line in enumerate(lines, start=1):
        try:
            photo, caption, *values = line.split("\t")
            scores = [float(value) for value in values]
            if len(scores) != 3:
                raise ValueError
        except ValueError:
            wrong.append(f"line {number}: {shown(line)}")
            continue
        pair = captions.get(caption.replace(".jpg#", "#"), -1), images.get(photo, -1)
        kept = scores if name == "flickr8k-expert" else scores[:1]
        if -1 in pair:
            outside += len(kept)
        else:
            judged += [(*pair, score) for score in kept]
    if wrong:
        raise DataError(f"{path}: {FILES[name]}: {len(wrong)} lines cannot be read ({first_few(wrong)})", reason="form")
    if not judged:
        raise DataError(f"{path}: {FILES[name]}: no judgement is about the test split", reason="no-ratings")
    first, second, score = map(np.array, zip(*judged, strict=True))
    return Ratings(first, second, score.astype(np.float64), outside)
