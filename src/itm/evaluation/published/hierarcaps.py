"""HierarCaps test: 1,000 images with a chain of four captions each, from generic to specific."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from itm.errors import DataError, cut
from itm.evaluation.benchmarks.hierarcaps import LEVELS, WORD_COUNT, traverse, word_count_tau_d
from itm.evaluation.published import sources
from itm.evaluation.published.report import Report
from itm.metrics import radii, tau_d
from itm.vectors import Vectors

STEPS = 50
ROWS = 1000
"""Rows of the published file."""


def evaluate(vectors: Vectors, folder: Path | None, *, normalize: bool) -> Report:
    """Both traversals and tau_d for `text_embeddings` (distinct texts), `root_embedding`, `image_embeddings`.

    Rows of `text_embeddings` are the distinct stripped strings in order of first appearance, row by row,
    level 1 to 4; rows of `image_embeddings` are the file's rows.
    """
    chains, texts, images = read_chains(find_chains(folder))
    text = vectors.embeddings("text_embeddings", normalize)
    root = vectors.embeddings("root_embedding", normalize, dimensions=1)
    image = vectors.embeddings("image_embeddings", normalize) if vectors.has("image") else None
    for name, found, wanted in (
        ("text_embeddings", text, len(texts)),
        ("image_embeddings", image, len(images)),
    ):
        if found is not None and len(found) != wanted:
            raise DataError(f"{vectors.path}: {name} has {len(found)} rows; the benchmark has {wanted}", reason="rows")
    width = text.shape[1] if image is None else image.shape[1]
    if not text.shape[1] == width == len(root):
        raise DataError(
            f"{vectors.path}: dimensions differ: texts {text.shape[1]}, images {width}, root {len(root)}",
            reason="dimension",
        )
    report = Report()
    if image is None:
        report.left_out.append("hierarcaps (both traversals): left out, since there are no embeddings of images")
        per_query = {"tau_d": tau_d(radii(text, root)[chains])}
        report.metrics["hierarcaps"] = {"tau_d": float(per_query["tau_d"].mean())}
    else:
        metrics, per_query, _ = traverse(image, text, root, chains, np.arange(len(chains)), STEPS)
        # the official evaluation is what "hierarcaps/precision" means; ProLIP's variant has its own prefix
        report.metrics["hierarcaps"] = {**metrics["radius_levels"], "tau_d": metrics["tau_d"]}
        report.metrics["hierarcaps_interpolation"] = metrics["interpolation"]
    numbers = np.arange(len(chains))
    for name, values in per_query.items():
        report.values("hierarcaps", "traversal", name, values, numbers, numbers)
    words = word_count_tau_d(texts, chains)
    report.protocol[WORD_COUNT] = words
    report.notes.append(
        f"hierarcaps: tau_d by the number of words alone is {words:.3f}, "
        "of an untrained ViT-S-32-alt 0.82 (docs/metrics.md)"
    )
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    report.protocol |= {"images": len(images), "texts": len(texts), "text_hash": digest, "levels": STEPS}
    return report


def find_chains(folder: Path | None) -> Path:
    """The file of the chains."""
    return sources.find(("hierarcaps_test.csv", "hierarcaps.csv"), folder)


def read_chains(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Chains [rows, 4] as numbers of distinct texts, those texts in order of first appearance, and image names."""
    number: dict[str, int] = {}
    chains, images = [], []
    table = sources.rows(path, "id", "captions", "image_url")
    sources.check_count(path, "rows", len(table), ROWS)
    for row in table:
        parts = [part.strip() for part in row["captions"].split("=>")]
        if len(parts) != LEVELS or not all(parts):
            raise DataError(
                f"{path}: row {cut(row['id'], 20)} has {len(parts)} levels, {parts.count('')} of them empty; expected "
                f"{LEVELS}",
                reason="chain-levels",
            )
        chains.append([number.setdefault(part, len(number)) for part in parts])
        images.append(row["image_url"].rsplit("/", 1)[-1])
    return np.array(chains, dtype=np.int64), list(number), images
