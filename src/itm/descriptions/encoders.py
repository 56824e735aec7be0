"""Sentence encoders: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.describe import DescribeParameters
from itm.data.files import read_npy
from itm.errors import ModelError
from itm.features import text_batches

Floats = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Floats]
Report = Callable[[int, int], None]
_BATCH = 64


def build_encoder(
    parameters: DescribeParameters, training_texts: Sequence[str], device: str, progress: Report | None = None
) -> Encode:
    """A function from texts to vectors (texts, width) float32 of unit length; '' has the zero vector.

    Equal texts are encoded once. `training_texts` (captions of the training split) fit the encoder "tfidf".

    Raises:
        ModelError: the encoder's weights are not here and cannot be fetched.
    """
    if parameters.encoder == "tfidf":
        encode = _tfidf(training_texts, parameters.encoder_width)
    elif parameters.encoder == "open_clip":
        encode = _open_clip(parameters, device, progress)
    elif parameters.encoder in ("minilm", "hub"):
        encode = _transformer(parameters, device, progress)
    else:
        raise TypeError(f"encoder '{parameters.encoder}' has no model")

    def run(texts: Sequence[str]) -> Floats:
        different, place = np.unique(np.array(list(texts), dtype=object), return_inverse=True)
        vectors = unit(np.asarray(encode(different.tolist()), np.float32))
        vectors[different == ""] = 0
        found: Floats = vectors[place]
        return found

    return run


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1; zero vectors stay.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats = np.where(lengths > 1e-12, vectors / np.maximum(lengths, 1e-12), 0).astype(np.float32)
    return found


def _tfidf(training_texts: Sequence[str], width: int) -> Encode:
    """TF-IDF of words and pairs of words, reduced by truncated SVD (latent semantic analysis)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=min(2, len(training_texts)))
    counted = weigh.fit_transform(training_texts)
    width = min(width, min(counted.shape) - 1)
    if width < 1:
        raise ModelError(
            f"encoder 'tfidf': {len(training_texts)} training captions with {counted.shape[1]} words are too few",
            reason="too-few",
        )
    reduce = TruncatedSVD(width, random_state=0).fit(counted)
    return lambda texts: reduce.transform(weigh.transform(texts)).astype(np.float32)


def _transformer(parameters: DescribeParameters, device: str, progress: Report | None) -> Encode:
    """The packaged MiniLM, or any sentence encoder of the hub, pooled as it was trained."""
    if parameters.encoder == "minilm":
        from itm.towers.offline import load_minilm

        tokenizer, model, _ = load_minilm()
        first = False
    else:
        tokenizer, model = _from_hub(parameters.encoder_model, parameters.encoder_revision)
        first = parameters.encoder_pooling == "cls"
    model = model.to(device).eval()

    def encode(texts: Sequence[str]) -> Floats:
        import torch

        from itm.towers.base import masked_mean

        def run(batch: Sequence[str]) -> Floats:
            given = tokenizer(
                list(batch), padding=True, truncation=True, max_length=parameters.encoder_length, return_tensors="pt"
            ).to(device)
            with torch.inference_mode():
                states = model(**given).last_hidden_state
                pooled = states[:, 0] if first else masked_mean(states, given["attention_mask"].bool())
            found: Floats = pooled.float().cpu().numpy()
            return found

        return _in_batches(texts, run, progress)

    return encode


def _from_hub(name: str, revision: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    options: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False}
    try:
        return AutoTokenizer.from_pretrained(name, **options), AutoModel.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"describe.encoder_model: '{name}' cannot be loaded ({first}); give a folder with the model or a name "
            "that the hub has (with network access), or use encoder 'minilm', which comes as a package",
            reason="weights-unavailable",
        ) from None


def _open_clip(parameters: DescribeParameters, device: str, progress: Report | None) -> Encode:
    """The text tower of an open_clip model; a text longer than its context is the mean of its sentences."""
    import torch

    from itm.towers.open_clip_model import OpenClipTowers

    towers = OpenClipTowers(
        model=parameters.encoder_model, weights=parameters.encoder_weights, image_size=224, context_length=77
    )
    towers = towers.to(device).eval()

    def run(batch: Sequence[str]) -> Floats:
        parts = [_parts(text) for text in batch]
        flat = [part for some in parts for part in some]
        with torch.inference_mode():
            found = towers.text(torch.from_numpy(towers.tokenize(flat)).to(device)).pooled.float().cpu().numpy()
        vectors = unit(found)
        ends = np.cumsum([len(some) for some in parts])
        return np.stack([vectors[end - len(some) : end].mean(0) for some, end in zip(parts, ends, strict=True)])

    return lambda texts: _in_batches(texts, run, progress)


def _parts(text: str, words: int = 45) -> list[str]:
    """A text cut at its full stops into parts that a context of 77 tokens holds.

    >>> _parts("A dog. It runs.", words=3)
    ['A dog.', 'It runs.']
    >>> _parts("A dog.", words=3)
    ['A dog.']
    """
    if len(text.split()) <= words:
        return [text]
    return [part.strip() + "." for part in text.split(".") if part.strip()] or [text]


def _in_batches(texts: Sequence[str], run: Callable[[Sequence[str]], Floats], progress: Report | None) -> Floats:
    """Vectors of texts, computed in batches of similar length."""
    result: Floats | None = None
    done = 0
    for batch in text_batches([len(text) for text in texts], _BATCH):
        part = run([texts[row] for row in batch])
        if result is None:
            result = np.zeros((len(texts), part.shape[1]), np.float32)
        result[batch] = part
        done += len(batch)
        if progress:
            progress(done, len(texts))
    return np.zeros((0, 0), np.float32) if result is None else result


def centred(vectors: Floats, reference: NDArray[np.bool_]) -> Floats:
    """Unit vectors less the mean of the reference rows, again of unit length; zero vectors (no text) stay.

    Args:
        reference: (rows,) bool, the training rows.
    """
    there = np.abs(vectors).sum(1) > 0
    if not (reference & there).any():
        return vectors
    moved = unit(vectors - vectors[reference & there].mean(0))
    moved[~there] = 0
    return moved


def read_vectors(path: Path) -> tuple[Floats, list[Any]]:
    """A .npy of vectors and the ids beside it (`<name>.ids.json`, one an row).

    Raises:
        ModelError: a file is missing or the two do not fit.
    """
    import json

    ids_path = path.with_suffix(".ids.json")
    try:
        vectors = np.array(read_npy(path))
        ids = list(json.loads(ids_path.read_text(encoding="utf-8")))
    except Exception as error:  # numpy raises what it happens to meet in damaged bytes
        raise ModelError(
            f"encoder 'file': {path} with {ids_path.name} cannot be read ({str(error)[:200]})", reason="no-vectors"
        ) from None
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise ModelError(
            f"encoder 'file': {path} is {vectors.shape} for {len(ids)} ids in {ids_path.name}", reason="no-vectors"
        )
    return vectors.astype(np.float32), ids
