"""A folder with one good file of each kind, for commands to read."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import stage_project
from PIL import Image
from safetensors.numpy import save_file
from small_model import KINDS, picture
from typer.testing import CliRunner

from itm import cli
from itm.config import load
from itm.data.files import PARQUET
from itm.data.regions import read_regions
from itm.descriptions.encoders import read_vectors
from itm.descriptions.records import Description, read_descriptions, write_descriptions
from itm.descriptions.vectors import DescriptionVectors, read_description_vectors, write_description_vectors
from itm.evaluation.published import pairs
from itm.evaluation.result import Result, write_together
from itm.features import FeatureRows, TokenRows, read_features, write_features
from itm.text import shards

ROOT = Path(__file__).parents[1]


def write_csv(path: Path, head: list[str], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


READERS: dict[str, Callable[[], object]] = {
    "features": lambda: read_features(Path("read/features.safetensors"), tokens=True),
    "descriptions": lambda: read_descriptions(Path("read/descriptions.jsonl")),
    "description-vectors": lambda: vars(read_description_vectors(Path("read/vectors.safetensors"))),
    "own-vectors": lambda: read_vectors(Path("read/own.npy")),
    "regions": lambda: read_regions(Path("read/regions"), ["1", "2", "3"]),
    "flickr30k": lambda: vars(pairs._flickr30k(Path("read/dataset_flickr30k.json"))),
}
"""Functions that read files which small projects do not have, from this folder."""


def write_read(folder: Path) -> None:
    """What `READERS` read."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((3, 4)).astype(np.float32)
    tokens = TokenRows(rows.astype(np.float16), np.array([0, 1, 2, 3]))
    write_features(folder / "features.safetensors", FeatureRows(rows, tokens, {"kind": "own"}))
    told = [Description(f"{row}", "train", 0, f"a dog {row}", "me") for row in range(9)]
    write_descriptions(folder / "descriptions.jsonl", told)
    write_description_vectors(folder / "vectors.safetensors", DescriptionVectors(rows, np.arange(3), None, None, {}))
    np.save(folder / "own.npy", rows)
    (folder / "own.ids.json").write_text('["1", "2", "3"]')
    (folder / "regions").mkdir()
    np.save(folder / "regions/train_ims.npy", rng.standard_normal((2, 3, 4)).astype(np.float32))
    (folder / "regions/train_ids.txt").write_text("1\n2\n")
    np.savez(folder / "regions/3.npz", features=rows)
    photos = [
        {"imgid": n, "filename": f"{n}.jpg", "split": "test", "sentences": [{"raw": f"a dog {n}", "sentid": n}]}
        for n in range(9)
    ]
    (folder / "dataset_flickr30k.json").write_text(json.dumps({"images": photos}))


def itm(*words: object) -> None:
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 0, done.output + repr(done.exception)


def write_embeddings(folder: Path) -> None:
    """The same embeddings of 40 photos with three captions each in every form, and their captions."""
    rng, images = np.random.default_rng(0), 40
    owners = np.repeat(np.arange(images), 3)
    vectors = rng.standard_normal((images, 8)).astype(np.float32)
    found = {
        "image_ids": np.arange(images) + 7,
        "image_embeddings": vectors,
        "caption_ids": np.arange(len(owners)) + 5,
        "caption_embeddings": vectors[owners] + 0.2 * rng.standard_normal((len(owners), 8)).astype(np.float32),
        "caption_image_ids": owners + 7,
    }
    np.savez(folder / "e.npz", **found)
    save_file(found, folder / "e.safetensors")
    (folder / "e").mkdir()
    for name, values in found.items():
        np.save(folder / f"e/{name}.npy", values)
    captions = [(5 + row, 7 + owner, f"a {KINDS[owner % 12][row % 3]} shape") for row, owner in enumerate(owners)]
    write_csv(folder / "captions.csv", ["caption_id", "image_id", "text"], captions)
    write_csv(folder / "pairs.csv", ["image_id", "caption_id"], [(7, 5), (8, 9)])
    chains = [(row, f"a => a {row} => a {row} b => a {row} b c", f"http://x/{row}.jpg") for row in range(1000)]
    (folder / "published").mkdir()
    write_csv(folder / "published/hierarcaps_test.csv", ["id", "captions", "image_url"], chains)
    texts, photos = rng.standard_normal((3001, 3)), rng.standard_normal((1000, 3))
    kinds = {"text": texts, "image": photos, "root": texts[:1]}
    rows = [{"kind": kind, "embedding": row} for kind, values in kinds.items() for row in values.tolist()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "chains.parquet", **PARQUET)


def write_files(folder: Path, small: SimpleNamespace) -> Path:
    """One good file of each kind; `stages` below it is a project that ran, `project` one with results only."""
    write_embeddings(folder)
    shutil.copy(ROOT / "params.yaml", folder)
    fit = ("--embeddings", folder / "e.npz", "--captions", folder / "captions.csv", "--params", folder / "params.yaml")
    itm("grade", "fit", *fit, "--out", folder / "grade.json")
    itm("evaluate", "--benchmark", "pairs", "--embeddings", folder / "e.npz", "--ranks", folder / "ranks.parquet")
    rank = np.arange(6, dtype=np.float64)
    per_query = {"image_ids": np.array(list("abcdef")), "i2t_rank": rank, "i2t_spearman": rank / 9}
    write_together({folder / "runs/seed0/retrieval.npz": Result({}, per_query, {"recall_at": [1, 5]})})
    rng = np.random.default_rng(1)
    shutil.copy(small.idf, folder / "idf.parquet")
    shutil.copytree(small.models[0], folder / "model")
    shutil.copytree(small.clean, folder / "clean")
    captions = pq.read_table(folder / "clean/captions.parquet")
    texts = captions["text"].to_pylist()
    pq.write_table(captions.append_column("raw_text", pa.array(texts)), folder / "clean/captions.parquet", **PARQUET)
    itm("index", folder / "model", "--images", folder / "clean", "--out", folder / "x.index", "--threads", 1)
    (folder / "photos").mkdir()
    (folder / "photos/0.png").write_bytes(picture(*KINDS[0]))
    Image.open(io.BytesIO(picture(*KINDS[1]))).save(folder / "photos/1.jpg")
    table = pa.table({"text": ["a dog", "two dogs"] * 9, "split": ["train", "dev"] * 9})
    pq.write_table(table, folder / "t.parquet", **PARQUET)
    (folder / "arrays").mkdir()
    (folder / "arrays/testall_caps.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    for name in ("aux_cap_bge", "cap_bge"):
        np.save(folder / f"arrays/testall_{name}.npy", rng.standard_normal((len(texts), 4)).astype(np.float32))
    score = load(ROOT / "params.yaml").score
    shards.count_shard(folder / "t.parquet", folder / "counted.parquet", score)
    shards.merge_counts([folder / "counted.parquet"], folder / "merged.parquet", score)
    shards.score_shard(folder / "t.parquet", folder / "merged.parquet", folder / "scored.parquet")
    (folder / "read").mkdir()
    write_read(folder / "read")
    write_project(folder / "project")
    (folder / "stages").mkdir()
    stage_project.make(folder / "stages", "ditm")
    shutil.copytree(folder / "stages/data/embeddings/ditm/seed0", folder / "stages/data/embeddings/ditm/seed1")
    return folder


def write_project(root: Path) -> None:
    """A project with results of one run, and a data set of its own."""
    (root / "results/runs/ditm/seed0").mkdir(parents=True)
    for name in ("params.yaml", "dvc.lock", "results/runs/ditm/seed0/retrieval.json"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "conf", root / "conf")
    (root / "data/raw/own").mkdir(parents=True)
    with zipfile.ZipFile(root / "data/raw/own/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "a line\n" * 99)
    content = (root / "data/raw/own/a.zip").read_bytes()
    known = {"urls": ["https://x.test/a.zip"], "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    about = dict.fromkeys(("title", "use", "licence", "citation"), "own")
    (root / "data/catalogue.yaml").write_text(json.dumps({"own": {**about, "files": {"a.zip": known}}}))
