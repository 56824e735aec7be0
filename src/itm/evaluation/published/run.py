"""`itm evaluate`: the benchmarks there are, and one call that runs them on a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itm import __version__
from itm.errors import ConfigError, nearest
from itm.evaluation.published import coco, hierarcaps, pairs
from itm.evaluation.published.report import Report
from itm.vectors import SCORES, Vectors, read_vectors

BENCHMARKS = {
    "coco": "COCO Karpathy test, 5K and 1K (mean of five folds): R@1/5/10 both ways, RSUM",
    "cxc": "Crisscrossed Captions: i2t, t2i, t2t, i2i retrieval; STS, SIS, SITS correlations",
    "eccv": "ECCV Caption: mAP@R, R-Precision, R@1/5/10 both ways",
    "flickr30k": "Flickr30K Karpathy test: R@1/5/10 both ways, RSUM",
    "flickr8k": "Flickr8k official test: R@1/5/10 both ways, RSUM",
    "hierarcaps": "HierarCaps test: precision, recall, order-aware recall of both traversals, tau_d",
    "pairs": "your own pairs: R@1/5/10 both ways; the file says each caption's image in `caption_image_ids`",
}
_COCO = ("coco", "cxc", "eccv")


def evaluate_file(
    path: Path | Vectors,
    benchmarks: Sequence[str],
    *,
    normalize: bool = False,
    annotations: Path | None = None,
    seed: int = 0,
    trials: int = coco.TRIALS,
) -> Report:
    """The metrics of one or several benchmarks for a file of embeddings. Those on COCO share one pass.

    Args:
        path: .safetensors or .npz, or what was read of one; docs/metrics.md says which arrays.
        benchmarks: keys of `BENCHMARKS`.
        normalize: scale all embeddings to unit length first; else they are used as given.
        annotations: folder of the benchmarks' own files; else ITM_MIRROR and data/raw are searched.
        seed: of the CxC bootstrap.
        trials: of the CxC bootstrap.

    Raises:
        ConfigError: a benchmark is unknown.
        DataError: the file or an annotation file is missing, damaged or does not fit.
    """
    for name in benchmarks:
        if name not in BENCHMARKS:
            raise ConfigError(f"no benchmark '{name}'; {nearest(name, BENCHMARKS)}", reason="unknown-benchmark")
    vectors = path if isinstance(path, Vectors) else read_vectors(path)
    report = Report()
    parts = {}
    on_coco = [name for name in _COCO if name in benchmarks]
    if on_coco:
        parts["coco"] = coco.evaluate(vectors, on_coco, annotations, normalize=normalize, seed=seed, trials=trials)
    if "hierarcaps" in benchmarks:
        parts["hierarcaps"] = hierarcaps.evaluate(vectors, annotations, normalize=normalize)
    for name in ("flickr30k", "flickr8k", "pairs"):
        if name in benchmarks:
            parts[name] = pairs.evaluate(vectors, name, annotations, normalize=normalize)
    for name, part in parts.items():
        report.metrics |= part.metrics
        report.protocol[name] = part.protocol
        report.columns += part.columns
    report.protocol |= {
        "version": __version__,
        "benchmarks": list(benchmarks),
        "normalize": normalize,
        "similarity": "scores of the file" if SCORES in vectors.arrays else "dot product",
        "ties": "lower gallery position first",
    }
    return report
