"""HiMo-Docci: photos of DOCCI with texts that grow sentence by sentence, all of them true."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itm.data.annotations import content_of, lines_of, raise_wrong
from itm.errors import DataError, shown
from itm.evaluation.published import sources
from itm.evaluation.published.report import Report
from itm.evaluation.result import id_hash
from itm.metrics import monotonicity
from itm.parse import parse_json
from itm.vectors import Gallery, Vectors, left_out, read_similarity

FILE = "himo_docci_data.json"
LONGEST = 100
"""Caption ids: this many for each row from 0, and the text's place in it."""


class Chains(NamedTuple):
    """Each row's photo, and the length of its chain of texts; the texts of all rows follow each other."""

    gallery: Gallery
    image: NDArray[np.int64]
    length: NDArray[np.int64]


def evaluate(vectors: Vectors, folder: Path | None, *, normalize: bool) -> Report:
    """Whether scores rise along each photo's texts: strictly, and as the correlation with the place (HiMo@K).

    As in the published evaluation the correlation of equal scores is 0; chains of all lengths weigh the same.
    """
    chains = read_chains(folder)
    similarity = read_similarity(vectors, chains.gallery, normalize)
    if not similarity.paired:
        return Report(left_out=[left_out("himo-docci", similarity)])
    texts = len(chains.gallery.caption_ids)
    s = similarity.pairs().exact(np.repeat(chains.image, chains.length), np.arange(texts))
    start = np.cumsum(chains.length) - chains.length
    found = {name: np.empty(len(start)) for name in ("rising", "pearson")}
    for length in np.unique(chains.length):
        rows = np.flatnonzero(chains.length == length)
        rise = monotonicity(s[start[rows][:, None] + np.arange(length)])
        found["rising"][rows], found["pearson"][rows] = rise.rising, np.nan_to_num(rise.pearson)
    report = Report({"himo-docci": {name: float(values.mean()) for name, values in found.items()}})
    for name, values in found.items():
        report.values("himo-docci", "chains", name, values, np.arange(len(start)), chains.image)
    lengths, count = np.unique(chains.length, return_counts=True)
    report.protocol |= {
        "images": len(chains.gallery.image_ids),
        "texts": texts,
        "chains": {f"of {k}": n for k, n in zip(lengths.tolist(), count.tolist(), strict=True)},
        "caption_id_hash": id_hash(chains.gallery.caption_ids),
    }
    return report


def read_chains(folder: Path | None) -> Chains:
    """The rows of the file; photos are numbered from 0 in order of first appearance.

    Raises:
        DataError: the file is not at hand, or not of the published form.
    """
    path = sources.find((FILE,), folder)
    rows: list[tuple[str, list[str]]] = []
    wrong: list[str] = []
    lines = lines_of(content_of(path), str(path))
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_json(line, f"line {number}")
        except DataError:
            wrong.append(f"line {number} is not JSON")
            continue
        if fault := _fault(row):
            wrong.append(f"line {number}: {fault}")
        else:
            rows.append((row["img_path"], row["caption"]))
    raise_wrong(wrong, f"{path} (an object a line)", "lines")
    if not rows:
        raise DataError(f"{path}: empty; fetch the file again", reason="form")
    photos = list(dict.fromkeys(name for name, _ in rows))
    place = {name: at for at, name in enumerate(photos)}
    image = np.array([place[name] for name, _ in rows], dtype=np.int64)
    length = np.array([len(texts) for _, texts in rows], dtype=np.int64)
    ids = [LONGEST * row + at for row, (_, texts) in enumerate(rows) for at in range(len(texts))]
    gallery = Gallery(
        np.arange(len(photos)),
        np.array(ids, dtype=np.int64),
        np.repeat(image, length),
        photos,
        [text for _, texts in rows for text in texts],
    )
    return Chains(gallery, image, length)


def _fault(row: Any) -> str:
    if not isinstance(row, dict):
        return f"is {type(row).__name__}, not an object"
    if missing := [name for name in ("img_path", "caption") if name not in row]:
        return f"has no {', '.join(missing)}"
    if not isinstance(row["img_path"], str) or not row["img_path"].strip():
        return f"img_path {shown(row['img_path'], 20)} is no name"
    texts = row["caption"]
    if not isinstance(texts, list) or not 2 <= len(texts) < LONGEST:
        return f"caption {shown(texts, 20)} is no list of 2 to {LONGEST - 1} texts"
    empty = [at for at, text in enumerate(texts, start=1) if not isinstance(text, str) or not text.strip()]
    return f"text {empty[0]} of caption {shown(texts[empty[0] - 1], 20)} is no text" if empty else ""
