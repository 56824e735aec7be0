"""A small data set in the pipeline's own files: 12 images, 3 to 5 captions each, exact grades, ratings, chains."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from presets import preset

from itm.config.parameters import EvaluateParameters
from itm.text.counts import count_words, document_frequencies
from itm.text.idf import idf_table
from itm.text.tables import write_idf

IMAGES = 12
DIMENSION = 16


@pytest.fixture
def parameters() -> EvaluateParameters:
    return EvaluateParameters(recall_at=[1, 5, 10], bootstrap_samples=20, hierarcaps_levels=50, seed=0, digits=4)


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    return build(tmp_path)


def build(folder: Path, seed: int = 0) -> SimpleNamespace:
    """Write data/clean, data/scored and embeddings below `folder`; tell where and what they hold."""
    rng = np.random.default_rng(seed)
    clean, scored, embeddings = folder / "clean", folder / "scored", folder / "embeddings"
    for path in (clean, scored, embeddings):
        path.mkdir()
    image_ids = [f"test{n:02d}" for n in range(IMAGES)]
    owners = np.repeat(np.arange(IMAGES), rng.integers(3, 6, IMAGES))
    position = np.concatenate([np.arange(n) for n in np.bincount(owners)])
    texts = [f"caption {p} of image {o}" for o, p in zip(owners, position, strict=True)]
    train = 4  # captions of the training split come first and must never be touched
    caption_ids = np.arange(100, 100 + train + len(owners))
    write(
        clean / "captions.parquet",
        caption_id=caption_ids,
        image_id=["train0"] * train + [image_ids[o] for o in owners],
        split=["train"] * train + ["test"] * len(owners),
        position=np.concatenate((np.arange(train), position)).astype(np.int8),
        text=["a training caption"] * train + texts,
        level=np.concatenate((np.ones(train), position + 1)).astype(np.int8),
    )
    write(clean / "images.parquet", image_id=["train0", *image_ids], split=["train"] + ["test"] * IMAGES)
    chains = [[f"thing {i % 2}", f"thing {i % 4} more", f"thing {i} more still", f"image {i}"] for i in range(IMAGES)]
    chain_texts = [text for chain in chains for text in chain]
    count = train + len(owners)
    write(
        clean / "texts.parquet",
        text_id=np.arange(count + len(chain_texts) + 1),
        text=["a training caption"] * train + texts + chain_texts + [""],
        kind=["caption"] * count + ["hierarchy"] * len(chain_texts) + ["empty"],
    )
    write(
        clean / "hierarchies.parquet",
        image_id=np.repeat(image_ids, 4).tolist(),
        level=np.tile(np.arange(1, 5), IMAGES).astype(np.int8),
        text=chain_texts,
        text_id=np.arange(count, count + len(chain_texts)),
    )
    grade = np.round(rng.uniform(0, 4, (IMAGES, len(owners))), 1).astype(np.float32)
    grade[owners, np.arange(len(owners))] = 5
    grade[rng.random(grade.shape) < 0.1] = 5
    np.savez(
        clean / "truth.npz",
        test_image_ids=np.array(image_ids),
        test_caption_ids=caption_ids[train:],
        test_grade=grade,
        dev_image_ids=np.array([], dtype=str),
        dev_caption_ids=np.array([], dtype=np.int64),
        dev_grade=np.zeros((0, 0), dtype=np.float32),
    )
    ratings = []
    for caption in range(len(owners)):
        for image in rng.choice(IMAGES, 3, replace=False):
            ratings.append(
                ("sits", caption_ids[train + caption], None, image_ids[image], None, grade[image, caption], -1)
            )
            for judge in range(3):
                expert = int(rng.integers(1, 5))
                ratings.append(
                    ("expert", caption_ids[train + caption], None, image_ids[image], None, float(expert), judge)
                )
            crowd = float(rng.integers(0, 4) / 3)
            ratings.append(("crowdflower", caption_ids[train + caption], None, image_ids[image], None, crowd, -1))
        other = int(rng.integers(len(owners)))
        if other != caption:
            ids = caption_ids[train + caption], caption_ids[train + other]
            ratings.append(("sts", *ids, None, None, float(rng.integers(0, 6)), -1))
    for first in range(IMAGES):
        for second in range(first):
            ratings.append(("sis", None, None, image_ids[first], image_ids[second], float(rng.integers(0, 6)), -1))
    kind, c1, c2, i1, i2, score, judge = zip(*ratings, strict=True)
    pq.write_table(
        pa.table(
            {
                "kind": kind,
                "caption_id_1": pa.array(c1, pa.int64()),
                "caption_id_2": pa.array(c2, pa.int64()),
                "image_id_1": pa.array(i1, pa.string()),
                "image_id_2": pa.array(i2, pa.string()),
                "score": pa.array([float(s) for s in score], pa.float64()),
                "sampling": [""] * len(kind),
                "judge": pa.array(judge, pa.int8()),
            }
        ),
        clean / "ratings.parquet",
    )
    write(scored / "captions.parquet", caption_id=caption_ids, descriptiveness=rng.random(count))
    words = count_words([*texts, *chain_texts])
    write_idf(scored / "idf.parquet", idf_table(document_frequencies(words), preset("scenes").score), words.words)
    image = rng.standard_normal((IMAGES, DIMENSION)).astype(np.float32)
    text = rng.standard_normal((count - train + len(chain_texts) + 1, DIMENSION)).astype(np.float32)
    text[: len(owners)] += image[owners]
    shuffled = rng.permutation(len(text))  # rows come in any order; ids say which is which
    save_embeddings(
        embeddings, np.array(image_ids), image, np.arange(train, train + len(text))[shuffled], text[shuffled]
    )
    return SimpleNamespace(
        clean=clean,
        scored=scored,
        embeddings=embeddings,
        image_ids=np.array(image_ids),
        caption_ids=caption_ids[train:],
        owners=owners,
        grade=grade,
        image=image,
        text=text,
        chains=chains,
    )


def save_embeddings(folder, image_ids, image, text_ids, text, split="test") -> None:
    protocol = np.array(json.dumps({"split": split, "method": "clip", "seed": 0, "similarity": "dot"}))
    np.savez(
        folder / "embeddings.npz", image_ids=image_ids, image=image, text_ids=text_ids, text=text, protocol=protocol
    )


def write(path: Path, **columns) -> None:
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
