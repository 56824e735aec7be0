"""A small finished workspace: 36 drawn images whose truth is known, two methods, two seeds, all evaluated."""

import io
import itertools
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from PIL import Image, ImageDraw

from itm.config import Parameters, validate
from itm.evaluation.benchmarks import cxc, false_negatives, grading, hierarcaps, judgements, retrieval
from itm.evaluation.result import Result, write_result
from itm.evaluation.tables import Tables
from itm.grading import fit_calibrator
from itm.grading.texts import idf_hash
from itm.text.counts import count_words, document_frequencies
from itm.text.idf import idf_table
from itm.text.tables import read_idf, write_idf
from itm.vectors.pipeline import Embeddings

ROOT = Path(__file__).parents[2]
COLOURS = ["red", "green", "blue"]
SHAPES = ["circle", "square", "bar"]
SIZES = ["large", "small"]
SIDES = ["left", "right"]
IDF = {word: 1.0 + 0.25 * place for place, word in enumerate(COLOURS + SHAPES + SIZES + SIDES)}
NASTY = "a shape <script>alert('x')</script> & \"more\" مرحبا 🙂"
MODULES = {
    "retrieval": retrieval,
    "cxc": cxc,
    "hierarcaps": hierarcaps,
    "judgements": judgements,
    "false_negatives": false_negatives,
    "grading": grading,
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return build(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def copied(finished: SimpleNamespace) -> Callable[[Path], SimpleNamespace]:
    """`copied(root)`: a copy of the finished workspace."""

    def copy(root: Path) -> SimpleNamespace:
        shutil.copytree(finished.root, root)
        return located(root, **{k: v for k, v in vars(finished).items() if k not in PLACES})

    return copy


@pytest.fixture
def workspace(copied: Callable[[Path], SimpleNamespace], tmp_path: Path) -> SimpleNamespace:
    """A copy that a test may change."""
    return copied(tmp_path / "work")


def changed(**keys: object) -> Parameters:
    """The project's own parameters with two methods and two seeds, changed by `keys`."""
    from ruamel.yaml import YAML

    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values |= {"methods": ["clip", "ditm"], "seeds": [0, 1], "benchmarks": list(DEFAULT)}
    values["evaluate"]["bootstrap_samples"] = 5
    values["report"]["examples"], values["train"]["epochs"] = 4, 10
    return validate(values | keys, "test")


DEFAULT = ("retrieval", "cxc", "hierarcaps", "false_negatives", "grading")


PLACES = ("root", "clean", "scored", "runs", "evaluations")


def located(root: Path, **facts: object) -> SimpleNamespace:
    """Where a workspace keeps its files, and what else is known of it."""
    places = (root, root / "data/clean", root / "data/scored", root / "results/runs", root / "evaluations")
    return SimpleNamespace(**facts | dict(zip(PLACES, places, strict=True)) | {"changed": changed, "nasty": NASTY})


def build(root: Path, methods: tuple[str, ...] = ("clip", "ditm"), seeds: tuple[int, ...] = (0, 1)) -> SimpleNamespace:
    """Write data/clean, data/scored, results and evaluations below `root`; tell where they are."""
    clean, scored = root / "data" / "clean", root / "data" / "scored"
    clean.mkdir(parents=True)
    scored.mkdir(parents=True)
    kinds = list(itertools.product(COLOURS, SHAPES, SIZES, SIDES))
    image_ids = [f"test-{n:02d}" for n in range(len(kinds))]
    write_images(clean, image_ids, kinds)
    captions, wants = [], []
    for n, (colour, shape, size, side) in enumerate(kinds):
        first = NASTY if n == 0 else f"a shape number {n % 4}"
        texts = [first, f"a {shape}", f"a {colour} {shape}", f"a {size} {colour} {shape} on the {side}"]
        captions += texts
        wants += [(), (shape,), (colour, shape), (colour, shape, size, side)]
    count, train = len(captions), 3
    ids = np.arange(10, 10 + train + count)
    owners = np.repeat(np.arange(len(kinds)), 4)
    true = np.array([[set(want) <= set(kind) for want in wants] for kind in kinds])
    write(
        clean / "captions.parquet",
        caption_id=ids,
        image_id=["train-00"] * train + [image_ids[o] for o in owners],
        split=["train"] * train + ["test"] * count,
        position=np.concatenate((np.arange(train), np.tile(np.arange(4), len(kinds)))).astype(np.int8),
        text=["a training caption"] * train + captions,
        level=np.concatenate((np.ones(train), np.tile([1, 2, 3, 4], len(kinds)))).astype(np.int8),
        multiplicity=np.concatenate((np.ones(train), true.sum(axis=0))).astype(np.int32),
    )
    length = np.array([len(want) for want in wants])
    write(
        scored / "captions.parquet",
        caption_id=ids,
        descriptiveness=np.concatenate((np.zeros(train), length.astype(float))),
        normalised=np.concatenate((np.zeros(train), length / 4)).astype(np.float32),
        words=np.concatenate((np.full(train, 3), [len(text.split()) for text in captions])).astype(np.int32),
    )
    counts = count_words(captions)
    write_idf(scored / "idf.parquet", idf_table(document_frequencies(counts), changed().score), counts.words)
    vocabulary = COLOURS + SHAPES + SIZES + SIDES
    held = np.array([[IDF[word] * (word in want) for word in vocabulary] for want in [()] * train + wants])
    scipy.sparse.save_npz(scored / "keywords.npz", scipy.sparse.csr_array(held))
    chains = [["a shape", f"a {k[1]}", f"a {k[0]} {k[1]}", f"a {k[2]} {k[0]} {k[1]} on the {k[3]}"] for k in kinds]
    chain_wants = [want for k in kinds for want in ((), (k[1],), k[:2], k)]
    chain_texts = [text for chain in chains for text in chain]
    first = train + count
    write(
        clean / "hierarchies.parquet",
        image_id=np.repeat(image_ids, 4).tolist(),
        level=np.tile(np.arange(1, 5), len(kinds)).astype(np.int8),
        text=chain_texts,
        text_id=np.arange(first, first + len(chain_texts)),
    )
    write(
        clean / "texts.parquet",
        text_id=np.arange(first + len(chain_texts) + 1),
        text=["a training caption"] * train + captions + chain_texts + [""],
        kind=["caption"] * first + ["hierarchy"] * len(chain_texts) + ["empty"],
    )
    shared = np.array([[len(set(want) & set(kind)) for want in wants] for kind in kinds])
    grade = np.where(true, 5.0, 4.5 * shared / np.maximum(length, 1)).astype(np.float32)
    np.savez(
        clean / "truth.npz",
        test_image_ids=np.array(image_ids),
        test_caption_ids=ids[train:],
        test_grade=grade,
        dev_image_ids=np.array([], dtype=str),
        dev_caption_ids=np.array([], dtype=np.int64),
        dev_grade=np.zeros((0, 0), dtype=np.float32),
    )
    write_ratings(clean, ids[train:], image_ids, grade, kinds)
    space = located(root, parameters=changed(), image_ids=image_ids, captions=captions, owners=owners)
    image = np.array([[word in kind for word in vocabulary] for kind in kinds], dtype=np.float64)
    text = np.array([[word in want for word in vocabulary] for want in wants + chain_wants], dtype=np.float64)
    for number, method in enumerate(methods):
        for seed in seeds:
            rng = np.random.default_rng([number, seed])
            noise = (0.9, 0.5, 0.7, 1.2)[number % 4]
            v, t = (
                np.hstack((array, np.full((len(array), 1), 0.3))) + noise * rng.standard_normal((len(array), 11))
                for array in (image, text)
            )
            t = np.vstack((t, [[0.0] * 10 + [1.0]]))
            v, t = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (v, t))
            text_ids = np.arange(train, train + len(t))
            model = Embeddings(np.array(image_ids), v.astype(np.float32), text_ids, t.astype(np.float32), {})
            evaluate(space, method, seed, model, (*DEFAULT, "judgements"))
            history(space.runs / method / f"seed{seed}" / "history.csv", method, rng)
    return space


def evaluate(space: SimpleNamespace, method: str, seed: int, model: Embeddings, benchmarks: tuple[str, ...]) -> None:
    """Run the real benchmarks, and write what the evaluate stage writes."""
    tables = Tables(space.clean, space.scored, "test")
    grade = space.root / f"models/{method}/seed{seed}/grade.json"
    scorer = model.scorer(tables.images["image_id"], tables.captions["row"])
    idf = idf_hash(read_idf(space.scored / "idf.parquet"))
    fit_calibrator(scorer, tables.owners, tables.descriptiveness, model="", idf=idf).save(grade)
    model = replace(model, grade=grade)
    for name in benchmarks:
        found = MODULES[name].evaluate(tables, model, space.parameters.evaluate)
        protocol = {**found.protocol, "dataset": "scenes", "split": "test", "benchmark": name}
        protocol |= {"method": method, "seed": seed, "similarity": "dot"}
        folder = f"{method}/seed{seed}"
        write_result(
            Result(found.metrics, found.per_query, protocol),
            space.runs / folder / f"{name}.json",
            space.evaluations / folder / f"{name}.npz",
            4,
        )


def history(path: Path, method: str, rng: np.random.Generator) -> None:
    """A history of ten epochs as the train stage writes it."""
    lines = ["epoch,info_nce,order,relaxed_share,train_loss,dev_rsum,dev_i2t_r1"]
    for epoch in range(1, 11):
        loss = 4 / epoch**0.5 + 0.05 * rng.random()
        order = f"{0.4 / epoch:.4f},{0.2 + 0.01 * epoch:.4f}" if method == "ditm" else ","
        lines.append(
            f"{epoch},{loss:.4f},{order},{loss + 0.1:.4f},{100 + 40 * np.log(epoch) + 9 * rng.random():.4f},0.1"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_images(clean: Path, image_ids: list[str], kinds: list[tuple[str, ...]]) -> None:
    """Draw each kind into a tar, and write images.parquet with the place of each."""
    rows: dict[str, list[object]] = {name: [] for name in ("image_id", "split", "shard", "offset", "size", "sha256")}
    with tarfile.open(clean / "images-test.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for image_id, (colour, shape, size, side) in zip(image_ids, kinds, strict=True):
            picture = Image.new("RGB", (64, 64), "#ddd6c8")
            half, x = (20 if size == "large" else 9), (22 if side == "left" else 42)
            box = (x - half, 32 - half, x + half, 32 + half)
            draw = ImageDraw.Draw(picture)
            if shape == "circle":
                draw.ellipse(box, fill=colour)
            else:
                draw.rectangle(box if shape == "square" else (box[0], 28, box[2], 36), fill=colour)
            encoded = io.BytesIO()
            picture.save(encoded, "PNG")
            entry = tarfile.TarInfo(f"{image_id}.png")
            entry.size = encoded.tell()
            for name, value in zip(
                rows, (image_id, "test", "images-test.tar", tar.offset + 512, entry.size, image_id), strict=True
            ):
                rows[name].append(value)
            encoded.seek(0)
            tar.addfile(entry, encoded)
    train = ("train-00", "train", "images-train.tar", 512, 1, "train-00")
    write(clean / "images.parquet", **{name: [one, *rows[name]] for name, one in zip(rows, train, strict=True)})


def write_ratings(
    clean: Path, caption_ids: np.ndarray, image_ids: list[str], grade: np.ndarray, kinds: list[tuple[str, ...]]
) -> None:
    """Ratings of all kinds that the benchmarks know, from the grades."""
    rng = np.random.default_rng(7)
    rows = []
    for caption, caption_id in enumerate(caption_ids.tolist()):
        for image in rng.choice(len(image_ids), 3, replace=False).tolist():
            value = float(grade[image, caption])
            rows.append(("sits", caption_id, None, image_ids[image], None, value, -1))
            rows.append(("crowdflower", caption_id, None, image_ids[image], None, value / 5, -1))
            rows += [("expert", caption_id, None, image_ids[image], None, 1 + round(value * 0.6), j) for j in range(3)]
        other = int(rng.integers(len(caption_ids)))
        if other != caption:
            rows.append(("sts", caption_id, int(caption_ids[other]), None, None, float(rng.integers(0, 6)), -1))
    for one, two in itertools.combinations(range(len(image_ids)), 2):
        same = len(set(kinds[one]) & set(kinds[two]))
        rows.append(("sis", None, None, image_ids[one], image_ids[two], 1.25 * same, -1))
    kind, c1, c2, i1, i2, score, judge = zip(*rows, strict=True)
    table = {
        "kind": kind,
        "caption_id_1": pa.array(c1, pa.int64()),
        "caption_id_2": pa.array(c2, pa.int64()),
        "image_id_1": pa.array(i1, pa.string()),
        "image_id_2": pa.array(i2, pa.string()),
        "score": pa.array([float(value) for value in score], pa.float64()),
        "sampling": [""] * len(kind),
        "judge": pa.array(judge, pa.int8()),
    }
    pq.write_table(pa.table(table), clean / "ratings.parquet")


def write(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path)
