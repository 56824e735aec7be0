"""Fixtures of the text tests: score parameters, and a small clean folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itm.config import load
from itm.config.data import ScoreParameters

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

Options = Callable[..., ScoreParameters]

TRAINING = [
    ["a dog", "a white dog", "a white dog with dark spots"],
    ["a dog runs", "a brown dog runs on the beach"],
    ["two people", "two people walk a brown dog on the beach"],
    ["a man on a red bike", "a man"],
]


@pytest.fixture(scope="session")
def options() -> Options:
    """Score parameters: those of params.yaml with minimum document frequency 1, and any changes."""
    base = {**load(ROOT / "params.yaml").score.model_dump(), "minimum_document_frequency": 1}
    return lambda **changes: ScoreParameters.model_validate({**base, **changes})


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A clean folder with 4 training, 1 dev and 2 test images, chains and votes."""
    rows: list[dict[str, Any]] = []
    images = [("train", texts) for texts in TRAINING] + [
        ("dev", ["a dog", "a dog with a zebra"]),
        ("test", ["a man", "a man on a bike", "a man on a red bike with a dog"]),
        ("test", ["people", "two people on the beach"]),
    ]
    for image, (split, texts) in enumerate(images):
        rows += [
            {"image_id": f"{split}-{image}", "split": split, "position": place, "text": text, "raw_text": text}
            | {"level": place + 1, "multiplicity": 3 - place}
            for place, text in enumerate(texts)
        ]
    for row, caption in enumerate(rows):
        caption["caption_id"] = 100 + row
    folder = tmp_path / "clean"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "captions.parquet")
    chain = ["a dog", "a white dog", "a white dog with spots", "a white dog with dark spots on the beach"]
    pq.write_table(
        pa.Table.from_pylist(
            [{"image_id": "h", "level": level + 1, "text": text, "text_id": level} for level, text in enumerate(chain)]
        ),
        folder / "hierarchies.parquet",
    )
    test = [row for row in rows if row["split"] == "test"]
    votes = [
        {"kind": "crowdflower", "caption_id_1": row["caption_id"], "image_id_1": "test-5", "score": 1 / (1 + number)}
        for number, row in enumerate(test)
    ]
    pq.write_table(pa.Table.from_pylist(votes), folder / "ratings.parquet")
    return folder
