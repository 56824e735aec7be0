"""A model too small to know anything, saved as training saves it, and clean tables for it to look at."""

from __future__ import annotations

import io
import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from itm.data.files import PARQUET

if TYPE_CHECKING:
    from itm.grading import Calibrator

ROOT = Path(__file__).parents[1]
NASTY = "a shape <script>alert('x')</script><img src=http://elsewhere.test/x onerror=alert(1)> & مرحبا 🙂"
KINDS = list(itertools.product(("red", "green", "blue"), ("circle", "square"), ("large", "small")))


def picture(colour: str, shape: str, size: str, side: int = 64) -> bytes:
    """A PNG of one shape."""
    image = Image.new("RGB", (side, side), "#ddd6c8")
    half = side * (0.35 if size == "large" else 0.15)
    box = (side / 2 - half, side / 2 - half, side / 2 + half, side / 2 + half)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=colour)
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def save_small_model(folder: Path, seed: int = 0, name: str = "clip") -> Path:
    """Random small towers and heads of dimension 16."""
    import torch

    from itm.config import load
    from itm.methods.build import build_method
    from itm.methods.saved import save_model
    from itm.towers.build import build_towers
    from itm.training.dataset import tower_widths

    parameters = load(ROOT / "params.yaml")
    towers_parameters = parameters.towers.model_copy(
        update={"kind": "scratch", "image_size": 32, "image_width": 8, "text_width": 16, "text_layers": 1}
    )
    embedding = parameters.embedding.model_copy(update={"dimension": 16, "hidden": 16})
    torch.manual_seed(seed)
    texts = [f"a {size} {colour} {shape}" for colour, shape, size in KINDS]
    towers = build_towers(towers_parameters, texts)
    options = parameters.method[name]
    method = build_method(options, embedding, tower_widths(towers))
    save_model(
        folder,
        method,
        towers,
        name=name,
        seed=seed,
        method_parameters=options,
        embedding=embedding,
        towers_parameters=towers_parameters,
        towers_description=towers.describe(),
        widths=tower_widths(towers),
        training={},
    )
    return folder


def save_small_grade(folder: Path, idf_file: Path) -> Calibrator:
    """Puts a calibrator that is made up for a small model into its folder."""
    from itm.grading import Calibrator
    from itm.grading.texts import idf_hash
    from itm.text.tables import read_idf
    from itm.vectors.pipeline import model_hash

    ratio = np.stack([np.linspace(-3, 2, 33), np.linspace(-5, 4, 33)], axis=1)
    prior, names = np.array([-1.0, -3.0]), (model_hash(folder), idf_hash(read_idf(idf_file)))
    made = Calibrator(-4.0, 4.0, np.array([0.5, 4.0]), ratio, prior, *names)
    made.save(folder / "grade.json")
    shutil.copy(idf_file, folder / "grade.idf.parquet")
    return made


def write_small_tables(root: Path) -> None:
    """data/clean and data/scored below `root`: twelve test images, three captions and a chain each."""
    from itm.config import load
    from itm.data.images import ShardWriter
    from itm.text.counts import count_words, document_frequencies
    from itm.text.idf import idf_table
    from itm.text.tables import write_idf

    clean = root / "data/clean"
    clean.mkdir(parents=True)
    names = [f"test-{number:02d}" for number in range(len(KINDS))]
    offsets, contents = [], [picture(*kind) for kind in KINDS]
    with ShardWriter(clean / "images-test.tar") as shard:
        for name, content in zip(names, contents, strict=True):
            offsets.append(shard.add(f"{name}.png", content))
    write(
        clean / "images.parquet",
        image_id=names,
        split=["test"] * len(names),
        shard=["images-test.tar"] * len(names),
        offset=np.array(offsets),
        size=np.array([len(content) for content in contents]),
    )
    chains = [["a shape", f"a {k[1]}", f"a {k[0]} {k[1]}", f"a {k[2]} {k[0]} {k[1]}"] for k in KINDS]
    texts = [text for chain in chains for text in (chain[1], chain[2], chain[3])]
    texts[0] = NASTY
    write(
        clean / "captions.parquet",
        caption_id=np.arange(len(texts)),
        image_id=np.repeat(names, 3).tolist(),
        split=["test"] * len(texts),
        text=texts,
    )
    write(
        clean / "hierarchies.parquet",
        image_id=np.repeat(names, 4).tolist(),
        level=np.tile(np.arange(1, 5), len(names)).astype(np.int8),
        text=[text for chain in chains for text in chain],
    )
    counts = count_words(texts)
    table = idf_table(document_frequencies(counts), load(ROOT / "params.yaml").score)
    write_idf(root / "data/scored/idf.parquet", table, counts.words)


def write(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path, **PARQUET)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two models and tables: `small.models`, `small.clean`, `small.idf`. Read only."""
    root = tmp_path_factory.mktemp("small")
    write_small_tables(root)
    models = [save_small_model(root / f"models/clip/seed{seed}", seed) for seed in (0, 1)]
    return SimpleNamespace(root=root, models=models, clean=root / "data/clean", idf=root / "data/scored/idf.parquet")
