"""`itm evaluate`: the benchmarks there are, and calls that run them on a file or a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from itm import __version__
from itm.data.layout import GRADE, MODEL_CARD
from itm.errors import ConfigError, DataError, nearest
from itm.evaluation.published import coco, hierarcaps, himo_docci, judgements, pairs, sugarcrepe
from itm.evaluation.published import protocols as others
from itm.evaluation.published.encoding import Encoder
from itm.evaluation.published.items import GALLERIES, read_items
from itm.evaluation.published.report import Report
from itm.grading.files import Grade, grade_of, graded_by
from itm.metrics.scorer import multiply
from itm.pipeline.products import DeviceProducts
from itm.vectors import SCORES, Vectors, read_vectors
from itm.vectors.pipeline import model_hash

BENCHMARKS = {
    "coco": "COCO Karpathy test, 5K and 1K (mean of five folds): R@1/5/10 both ways, RSUM",
    "cxc": "Crisscrossed Captions: i2t, t2i, t2t, i2i retrieval; STS, SIS, SITS correlations",
    "eccv": "ECCV Caption: mAP@R, R-Precision, R@1/5/10 both ways",
    "flickr30k": "Flickr30K Karpathy test: R@1/5/10 both ways, RSUM",
    "flickr8k": "Flickr8k official test: R@1/5/10 both ways, RSUM",
    "flickr8k-expert": "Flickr8k Expert, agreement with human judgements: tau-c, tau-b, Spearman, nDCG",
    "flickr8k-crowdflower": "Flickr8k CrowdFlower, agreement with human judgements: tau-b, tau-c, Spearman, nDCG",
    "hierarcaps": "HierarCaps test: precision, recall, order-aware recall of both traversals, tau_d",
    "sugarcrepe": "SugarCrepe: share of true captions above the same with a wrong detail, for each of its files",
    "himo-docci": "HiMo-Docci: whether scores rise with true detail, strictly and as a correlation (HiMo@K)",
    "pairs": "your own pairs: R@1/5/10 both ways; the file says each caption's image in `caption_image_ids`",
}
_BY_NAME: dict[str, Callable[..., Report]] = {
    "hierarcaps": hierarcaps.evaluate,
    "sugarcrepe": sugarcrepe.evaluate,
    "himo-docci": himo_docci.evaluate,
    **{name: partial(judgements.evaluate, name=name) for name in judgements.FILES},
}
VectorsOf = Callable[[str], Vectors]
"""The embeddings to take for a benchmark."""


class AssumedWarning(UserWarning):
    """What a file did not say was assumed, or a benchmark could be measured only in part."""


def evaluate_file(path: Path, benchmarks: Sequence[str], *, device: str = "cpu", **options: Any) -> Report:
    """The metrics of one or several benchmarks for a file of embeddings; docs/metrics.md says which arrays.

    `device` is torch's name of where embeddings are multiplied; "cpu" leaves it to numpy, and figures are the same to
    the last digit. Other `options` are those of `evaluate_vectors`.

    Raises:
        ConfigError, DataError: as `evaluate_vectors`; the file is missing or damaged.
        MetricError: torch cannot compute there. ModuleNotFoundError: it is not installed.
    """
    _check(benchmarks)
    vectors = read_vectors(path, multiply if device == "cpu" else DeviceProducts(device))
    return evaluate_vectors(lambda _: vectors, benchmarks, **options)


def evaluate_model(
    model: Any,
    benchmarks: Sequence[str],
    *,
    images: Path | None = None,
    keep: Path | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    annotations: Path | None = None,
    specificity: float | None = None,
    **options: Any,
) -> Report:
    """The metrics of benchmarks for a model, `Encoder` says which; other `options` as `evaluate_vectors`.

    With `specificity` pairs are ranked by the grades of a trained model's own calibrator (docs/grade.md).

    Raises:
        ConfigError, DataError: as `evaluate_vectors`; photos are missing or damaged; grades of what has none.
        ModelError: the model is unknown, gives arrays of other shapes, or has no grade. InstallError: its library is
            not installed.
    """
    _check(benchmarks, options.get("protocols", ()))
    grade = None if specificity is None else _own_grade(model, benchmarks, options.get("normalize", False))
    encoder = Encoder(model, images, keep, device, batch_size)
    items = {name: read_items(name, annotations) for name in benchmarks}
    once: dict[str, Vectors] = {}

    def vectors_of(name: str) -> Vectors:
        own = items[name]
        if own.gallery not in once:
            found = encoder.vectors(own)
            if grade is not None and specificity is not None:
                texts = dict(zip(own.caption_ids.tolist(), own.texts, strict=True))
                found = graded_by(grade, found, texts, specificity)
            once[own.gallery] = found
        return once[own.gallery]

    report = evaluate_vectors(vectors_of, benchmarks, annotations=annotations, **options)
    report.protocol["model"] = encoder.name
    if specificity is not None:
        report.protocol["grade"] = {"file": GRADE, "specificity": specificity}
    return report


def _own_grade(model: Any, benchmarks: Sequence[str], normalize: bool) -> Grade:
    """The calibrator of a trained model, which says nothing of scaled vectors or of walks through them."""
    folder = Path(str(getattr(model, "folder", model)))
    if not (folder / MODEL_CARD).is_file():
        raise ConfigError(
            f"--specificity: {folder} is no trained model's folder; of other models' embeddings `itm grade fit` fits a"
            " calibrator for --embeddings and --grade",
            reason="missing-option",
        )
    if normalize or "hierarcaps" in benchmarks:
        what = "--normalize" if normalize else "the benchmark hierarcaps, which walks through embeddings,"
        raise ConfigError(f"--specificity: {what} has no grades; leave one of the two out", reason="missing-option")
    return grade_of(folder, model_hash(folder))


def evaluate_vectors(
    vectors_of: VectorsOf,
    benchmarks: Sequence[str],
    *,
    normalize: bool = False,
    annotations: Path | None = None,
    seed: int = 0,
    trials: int = coco.TRIALS,
    protocols: Sequence[str] = (),
) -> Report:
    """The metrics of one or several benchmarks for embeddings. Those on COCO share one pass.

    Args:
        vectors_of: the embeddings to take for a benchmark.
        benchmarks: keys of `BENCHMARKS`.
        normalize: scale all embeddings to unit length first; else they are used as given.
        annotations: folder of the benchmarks' own files; else ITM_MIRROR and data/raw are searched.
        seed: of the CxC bootstrap.
        trials: of the CxC bootstrap.
        protocols: other evaluations whose figures of COCO and Flickr30K are wanted too, keys of
            `protocols.DIFFERENCES`.

    Raises:
        ConfigError: a benchmark or a protocol is unknown, or there is no other protocol of these benchmarks.
        DataError: the embeddings or an annotation file are missing, damaged or do not fit; or nothing can be measured.
    """
    _check(benchmarks, protocols)
    report = Report()
    used: dict[str, Vectors] = {}
    on_coco = [name for name in benchmarks if GALLERIES.get(name) == "coco"]
    if on_coco:
        used["coco"] = vectors_of(on_coco[0])
        found = coco.evaluate(used["coco"], on_coco, annotations, normalize=normalize, seed=seed, trials=trials)
        report.add("coco", found)
    for name in dict.fromkeys(benchmarks):
        if name not in on_coco:
            used[name] = vectors_of(name)
            run = _BY_NAME.get(name) or partial(pairs.evaluate, name=name)
            report.add(name, run(used[name], folder=annotations, normalize=normalize))
    for name in filter(others.BENCHMARKS.__contains__, dict.fromkeys(benchmarks) if protocols else ()):
        found = others.evaluate(used[name], name, tuple(protocols), annotations, normalize=normalize)
        for protocol, metrics in found.metrics.items():
            report.metrics.setdefault(protocol, {}).update(metrics)
        report.left_out += found.left_out
        report.protocol |= {"other_protocols": report.protocol.get("other_protocols", {}) | found.protocol}
    if not report.metrics:
        raise DataError(f"nothing can be measured: {'; '.join(report.left_out)}", reason="nothing-measured")
    assumed = list(dict.fromkeys(sentence for vectors in used.values() for sentence in vectors.assumed))
    for sentence in (*assumed, *report.left_out):
        warnings.warn(sentence, AssumedWarning, stacklevel=2)
    by_scores = any(SCORES in vectors.arrays for vectors in used.values())
    report.protocol |= {
        "version": __version__,
        "benchmarks": list(benchmarks),
        "normalize": normalize,
        "similarity": "scores of the file" if by_scores else "dot product",
        "ties": "lower gallery position first",
    } | ({"assumed": assumed} if assumed else {})
    return report


def _check(benchmarks: Sequence[str], protocols: Sequence[str] = ()) -> None:
    for name in benchmarks:
        if name not in BENCHMARKS:
            raise ConfigError(f"no benchmark '{name}'; {nearest(name, BENCHMARKS)}", reason="unknown-benchmark")
    for name in protocols:
        if name not in others.DIFFERENCES:
            raise ConfigError(f"no protocol '{name}'; {nearest(name, others.DIFFERENCES)}", reason="unknown-protocol")
    if protocols and not set(benchmarks).intersection(others.BENCHMARKS):
        raise ConfigError(
            f"--protocol is about the benchmarks {' and '.join(others.BENCHMARKS)}; found {', '.join(benchmarks)}",
            reason="unknown-protocol",
        )
