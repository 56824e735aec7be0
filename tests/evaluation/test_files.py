"""Files that `itm evaluate --embeddings` reads: every form gives the same figures, and a word on what it lacks."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itm.errors import DataError
from itm.evaluation.benchmarks import judgements as pipeline_judgements
from itm.evaluation.compare import compare
from itm.evaluation.published import AssumedWarning, evaluate_file, judgements, pairs
from itm.evaluation.tables import Tables
from itm.vectors import Gallery, check_ids
from itm.vectors.files import read_arrays
from itm.vectors.parquet import write_parquet
from itm.vectors.pipeline import read_embeddings

OWNERS = np.array([0, 0, 1, 2, 2, 2])


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A Flickr8k of three photos, and embeddings of its items in another order."""
    rng = np.random.default_rng(0)
    photos = ["111_a.jpg", "222_b.jpg", "333_c.jpg"]
    ids = np.array([111, 222, 333])
    captions = np.array([1110, 1111, 2220, 3330, 3331, 3332])
    gallery = Gallery(ids, captions, OWNERS, photos, list("abcdef"))
    monkeypatch.setattr(pairs, "read_gallery", lambda name, folder: gallery)
    monkeypatch.setitem(pairs.SIZES, "flickr8k", (3, 6))
    rows, columns = np.array([2, 0, 1]), np.array([5, 1, 0, 3, 2, 4])
    image, text = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((6, 4)).astype(np.float32)
    arrays = {
        "image_ids": ids[rows],
        "image_embeddings": image[rows],
        "caption_ids": captions[columns],
        "caption_embeddings": text[columns],
    }
    names = np.array(gallery.names("caption"))[columns]
    return tmp_path, arrays, image, text, np.array(photos)[rows], names


def figures(path):
    return evaluate_file(path, ["flickr8k"]).metrics


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_every_form_gives_the_same_figures(small, recwarn):
    folder, arrays, _, _, photos, captions = small
    wanted = figures(saved(folder / "x.npz", **arrays))
    (folder / "arrays").mkdir()
    for name, values in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", values)
    assert figures(folder / "arrays") == wanted
    rows = [
        {"kind": kind, "id": int(one), "embedding": vector.tolist()}
        for kind in ("image", "caption")
        for one, vector in zip(arrays[f"{kind}_ids"], arrays[f"{kind}_embeddings"], strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "x.parquet")
    assert figures(folder / "x.parquet") == wanted
    for ids in (
        {"image_ids": arrays["image_ids"].astype(np.float32), "caption_ids": arrays["caption_ids"].astype(str)},
        {"image_ids": photos, "caption_ids": captions},
        {"image_ids": np.char.replace(photos, ".jpg", "")},
    ):
        assert figures(saved(folder / "y.npz", **arrays | ids)) == wanted
    more = {"image_ids": np.append(photos, "no photo of the test split"), "image_embeddings": np.ones((4, 4))}
    more["image_embeddings"][:3] = arrays["image_embeddings"]
    assert figures(saved(folder / "more.npz", **arrays | more)) == wanted
    assert not [found for found in recwarn if found.category is AssumedWarning]


def test_what_is_assumed_is_said(small):
    folder, arrays, image, text, *_ = small
    wanted = figures(saved(folder / "x.npz", **arrays))
    plain = {"image_embeddings": image, "caption_embeddings": text}
    with pytest.warns(AssumedWarning, match="ids are not there: rows taken in protocol order"):
        report = evaluate_file(saved(folder / "y.npz", **plain), ["flickr8k"])
    assert report.metrics == wanted
    assert len(report.protocol["assumed"]) == 2
    shuffled = saved(
        folder / "z.npz", **arrays | {"image_ids": np.array([2, 0, 1]), "image_embeddings": image[[2, 0, 1]]}
    )
    with pytest.warns(AssumedWarning, match="image_ids are the positions 0 to 2: taken as places"):
        assert figures(shuffled) == wanted
    half = text.astype(np.float16)
    with pytest.warns(AssumedWarning, match="caption_embeddings is float16: read as float32"):
        found = figures(saved(folder / "h.npz", **arrays | {"caption_ids": np.arange(6), "caption_embeddings": half}))
    full = half.astype(np.float32)
    with pytest.warns(AssumedWarning, match="caption_ids are the positions"):
        assert found == figures(
            saved(folder / "w.npz", **arrays | {"caption_ids": np.arange(6), "caption_embeddings": full})
        )


def test_the_pipelines_own_file_is_read(small, monkeypatch):
    folder, arrays, image, text, *_ = small
    monkeypatch.chdir(folder)  # this checkout may hold clean tables of its own
    clean = folder / "data" / "clean"
    clean.mkdir(parents=True)
    names = ["999_z", "111_a", "111_a", "222_b", "333_c", "333_c", "333_c"]
    table = {"image_id": names, "position": np.array([0, 0, 1, 0, 0, 1, 2], np.int8)}
    pq.write_table(pa.table(table), clean / "captions.parquet")
    run = folder / "embeddings" / "clip" / "seed0"
    run.mkdir(parents=True)
    own = {"image_ids": np.array(["333_c", "111_a", "222_b"]), "image": image[[2, 0, 1]], "protocol": np.array("{}")}
    texts = np.vstack((text, np.ones((1, 4), np.float32)))  # the last is no caption
    own |= {"text_ids": np.array([1, 2, 3, 4, 5, 6, 7]), "text": texts}
    assert figures(saved(run / "embeddings.npz", **own)) == figures(saved(folder / "x.npz", **arrays))
    scored = {"scores": image @ text.T, "scored_images": np.array(["111_a", "222_b", "333_c"])}
    scored["scored_texts"] = np.arange(1, 7)
    assert figures(saved(run / "embeddings.npz", **own | scored)) == figures(saved(folder / "x.npz", **arrays))
    (clean / "captions.parquet").unlink()
    with pytest.raises(DataError, match="captions are known by the table data/clean"):
        figures(run / "embeddings.npz")


def test_two_names_of_one_photo_and_no_rows_are_refused(small):
    folder, arrays, *_ = small
    twice = {"image_ids": np.array(["111_a", "111_a.jpg", "333_c"])}
    with pytest.raises(DataError, match=r"image_ids: 1 ids occur more than once \(111\)"):
        figures(saved(folder / "x.npz", **arrays | twice))
    none = {"image_ids": np.zeros(0, int), "image_embeddings": np.zeros((0, 4))}
    path = saved(folder / "x.npz", **arrays | none, caption_image_ids=np.arange(6))
    with pytest.raises(DataError, match=r"image_embeddings has shape \(0, 4\); expected .*not empty"):
        evaluate_file(path, ["pairs"])


def test_one_kind_alone_measures_nothing_of_pairs(small):
    folder, arrays, *_ = small
    only = {name: values for name, values in arrays.items() if name.startswith("caption")}
    with pytest.raises(DataError, match=r"nothing can be measured: flickr8k: left out, since .* of images"):
        figures(saved(folder / "x.npz", **only))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([2**24, 1]), "x: 1 of 2 may have been rounded by float32"),
        (np.float64([2**53]), "may have been rounded by float64"),
        (np.array([np.nan]), "x: 1 of 1 are NaN or infinite"),
        (np.array([1, 2.5]), "x: 1 of 2 are no whole numbers"),
        (np.array([2**63], np.uint64), "x: 1 of 1 do not fit int64"),
        (np.array([1, "a"], object), "x is object; expected whole numbers"),
        (np.array(["a", ""]), "x: 1 of 2 are empty"),
        (np.array(["a", "a"]), r"x: 1 ids occur more than once \(a\)"),
        (np.array([[1]]), r"x has shape \(1, 1\)"),
        (np.array([1 + 0j]), "x is complex128"),
    ],
)
def test_ids_that_are_none_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        check_ids(values, "x")


def test_caption_image_ids_are_checked_too(tmp_path):
    """Float32 ids above 2^24 are rounded onto each other: each caption would have several photos."""
    big = np.arange(2**24, 2**24 + 5)
    arrays = {"image_ids": big, "image_embeddings": np.eye(5), "caption_ids": big, "caption_embeddings": np.eye(5)}
    wanted = evaluate_file(saved(tmp_path / "x.npz", **arrays, caption_image_ids=big), ["pairs"]).metrics
    assert wanted["pairs"]["rsum"] == 600
    named = {"image_ids": np.array(list("abcde")), "caption_image_ids": np.array(list("abcde"))}
    report = evaluate_file(saved(tmp_path / "n.npz", **arrays | named), ["pairs"])
    assert report.metrics == wanted
    report.write(None, tmp_path / "ranks.parquet")
    assert set(pq.read_table(tmp_path / "ranks.parquet")["group_id"].to_pylist()) == set("abcde")
    for wrong, message in (
        (big.astype(np.float32), "caption_image_ids: 5 of 5 may have been rounded"),
        (big[:3], "caption_image_ids: 3 ids for 5 rows"),
        (big.astype(str).astype(object).astype(str) + "x", "not both numbers or both texts"),
        (big + 1, r"caption_image_ids: 1 captions belong to images that are not there \(16777221\)"),
    ):
        with pytest.raises(DataError, match=message):
            evaluate_file(saved(tmp_path / "x.npz", **arrays, caption_image_ids=wrong), ["pairs"])


def test_queries_without_an_answer_are_counted(tmp_path):
    """Five photos, of which one has no caption: it is a query without any right answer."""
    arrays = {"image_ids": np.arange(5), "image_embeddings": np.eye(5), "caption_ids": np.arange(4)}
    arrays |= {"caption_embeddings": np.eye(5)[:4], "caption_image_ids": np.arange(4)}
    with pytest.warns(AssumedWarning, match="pairs i2t: 1 of 5 queries have no right answer and are left out"):
        report = evaluate_file(saved(tmp_path / "x.npz", **arrays), ["pairs"])
    assert report.metrics["pairs"]["rsum"] == 600
    assert report.to_json()["protocol"]["left_out"] == report.left_out
    report.write(None, tmp_path / "r.parquet")
    assert {row.a for row in compare(tmp_path / "r.parquet", tmp_path / "r.parquet", samples=5)} == {1.0}
    arrays["image_embeddings"] = np.roll(np.eye(5), 1, axis=0)  # the photo without captions is nearest to the fourth
    with pytest.warns(AssumedWarning, match="left out"):
        assert evaluate_file(saved(tmp_path / "x.npz", **arrays), ["pairs"]).metrics["pairs"]["t2i"]["r1"] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", np.eye(2), "a .npy file is named after what it holds: image_embeddings"),
        ("empty", None, "no file image_embeddings, image_ids, caption_embeddings .. .npy in this folder"),
        ("x.parquet", {"a": [1]}, "columns are a; expected kind, id, embedding"),
        ("x.parquet", {"kind": ["image"] * 2, "embedding": [[1.0], [1.0, 2.0]]}, "have lengths 1, 2, and 0 values"),
        ("x.parquet", {"kind": ["image"], "embedding": [[None]]}, "1 values are missing"),
        ("x.parquet", {"kind": ["image"], "id": [None], "embedding": [[1.0]]}, "1 ids of kind image are missing"),
        ("x.parquet", b"PAR1", r"x.parquet: cannot be read \(.*; it may be truncated"),
        ("x.npz", b"PK", r"x.npz: cannot be read \(.*; it may be truncated"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        np.save(path, content)
    with pytest.raises(DataError, match=message):
        figures(path)


@pytest.mark.parametrize("name", ["x.npz", "x.parquet"])
def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, name):
    """2 MB of zeros, read while equal vectors may have as much, and refused where they may not."""
    path, zeros = tmp_path / name, np.zeros((4000, 128), np.float32)
    if name == "x.npz":
        np.savez_compressed(path, image_embeddings=zeros)
    else:
        write_parquet(path, {"image_embeddings": zeros})
    assert 200 * path.stat().st_size < zeros.nbytes
    assert read_arrays(path)["image_embeddings"].shape == zeros.shape
    monkeypatch.setattr("itm.vectors.parquet.LARGEST", zeros.nbytes - 1)
    with pytest.raises(DataError, match=rf"{name}: its arrays take more than .* packed more than 200 to 1"):
        read_arrays(path)


def test_judgements_are_those_of_the_pipeline(world, parameters, monkeypatch, tmp_path):
    """The same ratings as lines of Flickr8k's own files, the same vectors as a file with ids."""
    import zipfile

    tables = Tables(world.clean, world.scored, "test")
    wanted = pipeline_judgements.evaluate(tables, read_embeddings(world.embeddings), parameters).metrics
    seen = np.concatenate([np.arange(n) for n in np.bincount(world.owners)])
    photos = [f"{name}.jpg" for name in world.image_ids]
    captions = [f"{photos[owner]}#{number}" for owner, number in zip(world.owners, seen, strict=True)]
    gallery = Gallery(np.arange(len(photos)), world.caption_ids, world.owners, photos)
    lines = {"expert": {}, "crowdflower": {}}
    for kind, caption, image, score in zip(
        *(tables.ratings[name] for name in ("kind", "caption_id_1", "image_id_1", "score")), strict=True
    ):
        if kind in lines:
            key = f"{image}.jpg\t{captions[world.caption_ids.tolist().index(caption)]}"
            lines[kind].setdefault(key, []).append(float(score))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        for kind, file in zip(lines, judgements.FILES.values(), strict=True):
            rows = [f"{key}\t" + "\t".join(f"{s}" for s in (v * 3)[:3]) for key, v in lines[kind].items()]
            rows.append("other.jpg\tother.jpg#0\t1\t1\t1")
            archive.writestr(file, "\n".join(rows))
    monkeypatch.setattr(pairs, "read_gallery", lambda name, folder: gallery)
    monkeypatch.setattr(pairs, "find_flickr8k", lambda folder: tmp_path / "t.zip")
    file = saved(
        tmp_path / "x.npz",
        image_ids=world.image_ids,
        image_embeddings=world.image,
        caption_ids=world.caption_ids,
        caption_embeddings=world.text[: len(world.owners)],
    )
    report = evaluate_file(file, [f"flickr8k-{kind}" for kind in lines])
    found = {kind: report.metrics[f"flickr8k-{kind}"] for kind in lines}
    assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    report.write(None, tmp_path / "ranks.parquet")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("ExpertAnnotations.txt", "a.jpg\ta.jpg#0\t1\t1\n")
    with pytest.raises(DataError, match=r"ExpertAnnotations.txt: 1 lines cannot be read \(line 1"):
        evaluate_file(file, ["flickr8k-expert"])
