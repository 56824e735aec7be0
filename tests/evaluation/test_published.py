"""`itm evaluate` on a small COCO in the published files' own formats, against plain recomputation."""

import csv
import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from itm.errors import ConfigError, DataError
from itm.evaluation.keys import flat_metrics
from itm.evaluation.published import BENCHMARKS, coco_files, evaluate_file, hierarcaps, sources
from itm.evaluation.published.quoted import QUOTED

IMAGES, DIMENSION = 20, 12
CXC_COLUMNS = {"sts": ("caption1", "caption2"), "sis": ("image1", "image2"), "sits": ("caption", "image")}


def caption_name(one):
    return f"COCO_val2014:sentid:{one}"


def image_name(one):
    return f"COCO_val2014_{one:012d}.jpg"


@pytest.fixture
def small_coco(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image_ids = rng.choice(500_000, IMAGES, replace=False)
    owners = np.repeat(np.arange(IMAGES), 5)
    caption_ids = rng.choice(900_000, len(owners), replace=False)
    monkeypatch.setattr(coco_files, "SIZE", (IMAGES, len(owners)))
    with gzip.open(tmp_path / "karpathy_captions.csv.gz", "wt", newline="") as text:
        table = csv.writer(text)
        table.writerow(["split", "index", "caption_id", "image_id", "tokenized_caption", "original_caption"])
        table.writerow(["val", 0, 1, 2, "not of the test split", ""])
        table.writerows(["test", n, caption_ids[n], image_ids[o], "x", ""] for n, o in enumerate(owners))
    ratings = {
        "sts": [
            (caption_name(a), caption_name(b), rng.integers(0, 6))
            for a, b in rng.choice(caption_ids, (60, 2), replace=True)
            if a != b
        ],
        "sis": [
            (image_name(a), image_name(b), rng.integers(0, 6)) for a, b in rng.choice(image_ids, (60, 2)) if a != b
        ],
        "sits": [
            (caption_name(rng.choice(caption_ids)), image_name(rng.choice(image_ids)), rng.integers(0, 6))
            for _ in range(90)
        ],
    }
    for kind, rows in ratings.items():
        with (tmp_path / f"{kind}_test.csv").open("w", newline="") as text:
            table = csv.writer(text)
            table.writerow([*CXC_COLUMNS[kind], "agg_score", "sampling_method"])
            table.writerows([*row, "some"] for row in rows)
    i2t = {
        str(image): rng.choice(caption_ids, rng.integers(1, 7), replace=False).tolist()
        for image in rng.choice(image_ids, 9, replace=False)
    }
    i2t[next(iter(i2t))].append(999_999_999)  # an answer outside the gallery
    t2i = {
        str(caption): rng.choice(image_ids, rng.integers(1, 5), replace=False).tolist()
        for caption in rng.choice(caption_ids, 11, replace=False)
    }
    (tmp_path / "eccv_image_to_caption.json").write_text(json.dumps(i2t))
    (tmp_path / "eccv_caption_to_image.json").write_text(json.dumps(t2i))
    monkeypatch.setattr(sources, "eccv_caption_data", lambda: tmp_path)
    image = rng.standard_normal((IMAGES, DIMENSION)).astype(np.float32)
    text = (image[owners] + rng.standard_normal((len(owners), DIMENSION))).astype(np.float32)
    rows, columns = rng.permutation(IMAGES), rng.permutation(len(owners))
    arrays = {
        "image_ids": image_ids[rows],
        "image_embeddings": image[rows],
        "caption_ids": caption_ids[columns],
        "caption_embeddings": text[columns],
    }
    save_file(arrays, tmp_path / "x.safetensors")
    return SimpleNamespace(
        folder=tmp_path,
        file=tmp_path / "x.safetensors",
        arrays=arrays,
        image_ids=image_ids.tolist(),
        caption_ids=caption_ids.tolist(),
        owners=owners,
        scores=image.astype(np.float64) @ text.T.astype(np.float64),
        ratings=ratings,
        i2t=i2t,
        t2i=t2i,
    )


def best_rank(row, answers):
    order = np.argsort(-row, kind="stable").tolist()
    return min((order.index(item) for item in answers), default=len(row))


def recall(scores, answers, k):
    return np.mean([best_rank(row, answer) < k for row, answer in zip(scores, answers, strict=True)])


def test_coco_5k_and_1k(small_coco):
    metrics = evaluate_file(small_coco.file, ["coco"], annotations=small_coco.folder).to_json()
    own = [range(5 * image, 5 * image + 5) for image in range(IMAGES)]
    for k in (1, 5, 10):
        assert metrics[f"coco_5k/i2t/r{k}"] == pytest.approx(recall(small_coco.scores, own, k))
        assert metrics[f"coco_5k/t2i/r{k}"] == pytest.approx(
            recall(small_coco.scores.T, [[o] for o in small_coco.owners], k)
        )
    folds = [small_coco.scores[4 * f : 4 * f + 4, 20 * f : 20 * f + 20] for f in range(5)]
    owners = [[image] for image in np.repeat(np.arange(4), 5)]
    assert metrics["coco_1k/i2t/r1"] == pytest.approx(np.mean([recall(fold, own[:4], 1) for fold in folds]))
    assert metrics["coco_1k/t2i/r1"] == pytest.approx(np.mean([recall(fold.T, owners, 1) for fold in folds]))
    assert metrics["protocol"]["coco"]["captions"] == 5 * IMAGES


def test_cxc_retrieval_and_counts(small_coco):
    metrics = evaluate_file(small_coco.file, ["cxc"], annotations=small_coco.folder, trials=5).to_json()
    rated = [(c, i) for c, i, score in small_coco.ratings["sits"] if score >= 3]
    by_caption = [
        {small_coco.image_ids.index(int(i[13:25])) for c, i in rated if c == caption_name(caption)}
        for caption in small_coco.caption_ids
    ]
    assert metrics["cxc/t2i/r1"] == pytest.approx(recall(small_coco.scores.T, by_caption, 1))
    answered = [number for number, answers in enumerate(by_caption) if answers]
    expected = recall(small_coco.scores.T[answered], [by_caption[number] for number in answered], 5)
    assert metrics["cxc/t2i/answerable/r5"] == pytest.approx(expected)
    assert metrics["protocol"]["coco"]["cxc"]["answerable"]["t2i"] == len(answered)
    assert {"cxc/sts/spearman", "cxc/sis/std", "cxc/sits/spearman_all_pairs", "cxc/t2t/r1", "cxc/i2i/r10"} <= set(
        metrics
    )


@pytest.mark.parametrize(("kind", "found"), [("caption", {"t2t", "sts"}), ("image", {"i2i", "sis"})])
def test_one_kind_of_embeddings_measures_its_part_of_cxc(small_coco, kind, found):
    whole = evaluate_file(small_coco.file, ["cxc"], annotations=small_coco.folder, trials=5)
    arrays = {name: values for name, values in small_coco.arrays.items() if name.startswith(kind)}
    save_file(arrays, small_coco.folder / "one.safetensors")
    part = evaluate_file(
        small_coco.folder / "one.safetensors", ["cxc", "eccv"], annotations=small_coco.folder, trials=5
    )
    assert part.metrics == {"cxc": {name: whole.metrics["cxc"][name] for name in found}}
    assert [sentence.split(" ")[0] for sentence in part.left_out] == ["cxc", "eccv:"]


def test_eccv_with_an_answer_outside_the_gallery(small_coco):
    metrics = evaluate_file(small_coco.file, ["eccv"], annotations=small_coco.folder).to_json()
    for task, answers, queries, items, scores in (
        ("i2t", small_coco.i2t, small_coco.image_ids, small_coco.caption_ids, small_coco.scores),
        ("t2i", small_coco.t2i, small_coco.caption_ids, small_coco.image_ids, small_coco.scores.T),
    ):
        average, precision = [], []
        for query, positives in answers.items():
            order = np.argsort(-scores[queries.index(int(query))], kind="stable")
            hits = np.array([items[place] in positives for place in order[: len(positives)]])
            precision.append(hits.mean())
            average.append(np.sum(hits * np.cumsum(hits) / np.arange(1, len(hits) + 1)) / len(hits))
        assert metrics[f"eccv/{task}/map_at_r"] == pytest.approx(np.mean(average), abs=1e-12)
        assert metrics[f"eccv/{task}/r_precision"] == pytest.approx(np.mean(precision), abs=1e-12)
    assert metrics["eccv/map_at_r"] == pytest.approx((metrics["eccv/i2t/map_at_r"] + metrics["eccv/t2i/map_at_r"]) / 2)
    assert metrics["protocol"]["coco"]["eccv"]["answers_outside_gallery"] == [999_999_999]


def test_one_pass_gives_what_single_runs_give(small_coco):
    names = ["coco", "cxc", "eccv"]
    together = evaluate_file(small_coco.file, names, annotations=small_coco.folder, trials=5).metrics
    for name in names:
        alone = evaluate_file(small_coco.file, [name], annotations=small_coco.folder, trials=5).metrics
        assert all(together[key] == value for key, value in alone.items())


def test_normalize_scales_to_unit_length(small_coco):
    unit = dict(small_coco.arrays)
    for name in ("image_embeddings", "caption_embeddings"):
        unit[name] = unit[name] / np.linalg.norm(unit[name], axis=1, keepdims=True)
    save_file(unit, small_coco.folder / "unit.safetensors")
    one = evaluate_file(small_coco.file, ["coco"], annotations=small_coco.folder, normalize=True).metrics
    other = evaluate_file(small_coco.folder / "unit.safetensors", ["coco"], annotations=small_coco.folder).metrics
    assert one == other


def test_npz_and_extra_rows_are_fine(small_coco):
    more = dict(small_coco.arrays)
    more["caption_ids"] = np.append(more["caption_ids"], 10**9)
    more["caption_embeddings"] = np.vstack((more["caption_embeddings"], np.ones((1, DIMENSION), np.float32)))
    np.savez(small_coco.folder / "more.npz", **more)
    report = evaluate_file(small_coco.folder / "more.npz", ["coco"], annotations=small_coco.folder)
    assert report.metrics == evaluate_file(small_coco.file, ["coco"], annotations=small_coco.folder).metrics
    assert report.protocol["coco"]["ignored_captions"] == 1


def _with(**changes):
    return lambda arrays: {name: value for name, value in {**arrays, **changes}.items() if value is not None}


def _edit(name, change):
    def edited(arrays):
        values = arrays[name].copy()
        return {**arrays, name: change(values)}

    return edited


def _set(place, value):
    def change(values):
        values[place] = value
        return values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _with(image_embeddings=None, caption_embeddings=None),
            "no array `image_embeddings`; the file holds caption_ids, image_ids",
        ),
        (
            lambda arrays: {**_with(image_ids=None)(arrays), "image_embeddings": arrays["image_embeddings"][:-1]},
            "no array `image_ids`; the file holds caption_embeddings, caption_ids, image_embeddings",
        ),
        (_edit("caption_ids", lambda ids: ids[:-1]), "caption_ids: 99 ids for 100 rows"),
        (_edit("image_ids", _set(3, 123)), "1 of the 20 image ids asked for are missing"),
        (
            lambda arrays: {
                **arrays,
                "image_ids": np.arange(21),
                "image_embeddings": np.ones((21, DIMENSION), np.float32),
            },
            r"20 image ids asked for are missing .*positions 0, 1, 2",
        ),
        (_edit("caption_ids", lambda ids: ids + 10**7), "only 0 of the file's 100 ids are among them"),
        (
            _edit("caption_ids", lambda ids: np.where(np.arange(100) == 7, ids[0], ids)),
            "caption_ids: 1 ids occur more than once",
        ),
        (
            _edit("image_ids", lambda ids: (ids + 2**24).astype(np.float32)),
            r"image_ids: 20 of 20 may have been rounded by float32 \(rows 0, 1, 2 and 17 more\); save ids as int64",
        ),
        (_edit("image_ids", lambda ids: np.where(ids > 0, ids + 0.5, 0)), "image_ids: 20 of 20 are no whole numbers"),
        (_edit("caption_ids", lambda ids: np.full(len(ids), np.nan)), "caption_ids: 100 of 100 are NaN or infinite"),
        (_edit("caption_ids", lambda ids: ids > 7), "caption_ids is bool; expected whole numbers"),
        (_edit("caption_ids", lambda ids: ids[:, None]), r"caption_ids has shape \(100, 1\); expected \[rows\]"),
        (
            _edit("image_embeddings", _set((2, 3), np.nan)),
            r"image_embeddings: 1 of 20 rows hold NaN or infinity \(rows 2\)",
        ),
        (_edit("caption_embeddings", _set((5, 0), np.inf)), r"caption_embeddings: 1 of 100 rows hold NaN or infinity"),
        (_edit("image_embeddings", _set(4, 0.0)), r"1 of 20 rows are zero vectors \(rows 4\)"),
        (_edit("image_embeddings", lambda v: v[:, :5]), "differ in dimension: 5 for rows, 12 for columns"),
        (_edit("image_embeddings", lambda v: v.astype(np.int32)), "int32; expected float32 or float64"),
        (_edit("image_embeddings", lambda v: v[0]), r"has shape \(12,\); expected \[rows, dimension\], not empty"),
        (_edit("image_embeddings", lambda v: v[:0]), r"has shape \(0, 12\)"),
    ],
)
def test_wrong_arrays_are_refused(small_coco, change, message):
    arrays = {name: np.ascontiguousarray(value) for name, value in change(small_coco.arrays).items()}
    save_file(arrays, small_coco.folder / "bad.safetensors")
    with pytest.raises(Exception, match=message) as caught:
        evaluate_file(small_coco.folder / "bad.safetensors", ["coco"], annotations=small_coco.folder)
    assert caught.type.__mro__[1].__name__ == "ProjectError"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x80\x04\x95 a pickle", "not a readable safetensors file: .*; it looks like a pickle"),
        (b"PK\x03\x04 torch", "it looks like a zip archive: an .npz needs that suffix"),
        (b"\x93NUMPY", "it looks like a .npy file: give it that suffix"),
        (b"PAR1", "it looks like Parquet: give it the suffix .parquet"),
        (b"\x89HDF\r\n\x1a\n", "it looks like HDF5: save its arrays with numpy.savez"),
        ("truncated", "it may be truncated"),
        (None, "No such file"),
    ],
)
def test_wrong_files_are_refused(small_coco, content, message):
    path = small_coco.folder / "bad.safetensors"
    if content == "truncated":
        path.write_bytes(small_coco.file.read_bytes()[:-100])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        evaluate_file(path, ["coco"], annotations=small_coco.folder)


def test_bfloat16_is_refused(small_coco):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    arrays = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in small_coco.arrays.items()}
    arrays["image_embeddings"] = arrays["image_embeddings"].bfloat16()
    save_torch(arrays, small_coco.folder / "b.safetensors")
    with pytest.raises(DataError, match=r"holds a type that numpy lacks.*save float32"):
        evaluate_file(small_coco.folder / "b.safetensors", ["coco"], annotations=small_coco.folder)


def test_unknown_names_and_missing_annotations(small_coco, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no benchmark 'coko'; did you mean 'coco'"):
        evaluate_file(small_coco.file, ["coko"])
    (small_coco.folder / "sts_test.csv").unlink()
    with pytest.raises(DataError, match=r"sts_test\.csv: not found below .*--annotations"):
        evaluate_file(small_coco.file, ["cxc"], annotations=small_coco.folder)


def test_another_gallery_size_is_refused(small_coco, monkeypatch):
    monkeypatch.setattr(coco_files, "SIZE", (5000, 25000))
    with pytest.raises(DataError, match="has 20 images and 100 captions; expected 5000 and 25000"):
        evaluate_file(small_coco.file, ["coco"], annotations=small_coco.folder)


def test_own_pairs_with_uneven_captions(tmp_path):
    rng = np.random.default_rng(1)
    owners = np.array([0, 0, 1, 2, 2, 2])
    image, text = rng.standard_normal((3, 4)), rng.standard_normal((6, 4))
    np.savez(
        tmp_path / "x.npz",
        image_ids=np.array([7, 5, 9]),
        image_embeddings=image,
        caption_ids=np.arange(6),
        caption_embeddings=text,
        caption_image_ids=np.array([7, 5, 9])[owners],
    )
    metrics = evaluate_file(tmp_path / "x.npz", ["pairs"]).to_json()
    assert metrics["pairs/t2i/r1"] == pytest.approx(recall((image @ text.T).T, [[o] for o in owners], 1))
    assert metrics["pairs/i2t/r1"] == pytest.approx(
        recall(image @ text.T, [np.flatnonzero(owners == i) for i in range(3)], 1)
    )
    with pytest.raises(DataError, match="3 images and 6 captions; the flickr30k test split has 1000 and 5000"):
        evaluate_file(tmp_path / "x.npz", ["flickr30k"])


def test_hierarcaps_file(tmp_path, monkeypatch):
    monkeypatch.setattr(hierarcaps, "ROWS", 2)
    rows = [
        ["0", "a => a cat => a black cat => a black cat sits", "http://x/1.jpg"],
        ["1", "a=> a dog =>dog=>dogs", "http://x/2.jpg"],
    ]
    with (tmp_path / "hierarcaps_test.csv").open("w", newline="") as text:
        csv.writer(text).writerows([["id", "captions", "image_url"], *rows])
    rng = np.random.default_rng(0)
    arrays = {
        "text_embeddings": rng.standard_normal((7, 5)),  # "a" occurs twice
        "image_embeddings": rng.standard_normal((2, 5)),
        "root_embedding": rng.standard_normal(5),
    }
    save_file(arrays, tmp_path / "x.safetensors")
    metrics = evaluate_file(tmp_path / "x.safetensors", ["hierarcaps"], annotations=tmp_path, normalize=True).to_json()
    assert {"hierarcaps/precision", "hierarcaps/recall", "hierarcaps/tau_d", "hierarcaps_interpolation/recall"} <= set(
        metrics
    )
    save_file(arrays | {"text_embeddings": arrays["text_embeddings"][:6]}, tmp_path / "y.safetensors")
    with pytest.raises(DataError, match="text_embeddings has 6 rows; the benchmark has 7"):
        evaluate_file(tmp_path / "y.safetensors", ["hierarcaps"], annotations=tmp_path)


def test_quoted_numbers_name_known_benchmarks_and_a_source():
    assert all(row.benchmark in BENCHMARKS and row.source for row in QUOTED)


@pytest.mark.real
def test_documented_counts_of_the_real_files():
    import os

    if "ITM_MIRROR" not in os.environ:
        pytest.skip("needs the data mirror: set ITM_MIRROR")
    from itm.evaluation.benchmarks import cxc

    gallery = coco_files.read_gallery(None)
    ratings = coco_files.read_cxc(gallery, None)
    assert {kind: len(rows) for kind, rows in ratings.items()} == {"sts": 44_045, "sis": 46_719, "sits": 44_833}
    assert {kind: int((rows.score >= 3).sum()) for kind, rows in ratings.items()} == {
        "sts": 16_184,
        "sis": 15_458,
        "sits": 35_585,
    }
    answers = cxc.rated_answers(ratings, gallery.owners, 5000)
    assert int((answers.t2i.counts == 0).sum()) == 28
    assert int((answers.i2t.counts == 0).sum()) == 0
    assert int((answers.i2i.counts > 0).sum()) == 4_791
    lost = [
        int(np.count_nonzero(~answers.i2t.contains(np.full(5, i), np.flatnonzero(gallery.owners == i))))
        for i in range(5000)
    ]
    assert np.count_nonzero(lost) == 29
    package = coco_files._package_gallery()
    assert (package.caption_ids == gallery.caption_ids).all()
    assert (package.owners == gallery.owners).all()
    theirs = json.loads((sources.eccv_caption_data() / "cxc_caption_to_image.json").read_text())
    assert len(theirs) == 24_972
    for place, caption in enumerate(gallery.caption_ids.tolist()):
        assert set(gallery.image_ids[answers.t2i.of(place)].tolist()) == set(theirs.get(str(caption), []))
    outside = []
    for task, query_ids, item_ids, size, pairs in (
        ("i2t", gallery.image_ids, gallery.caption_ids, 1_261, 22_550),
        ("t2i", gallery.caption_ids, gallery.image_ids, 1_332, 11_279),
    ):
        _, positives, missing = coco_files.read_eccv(task, query_ids, item_ids)
        outside += missing
        assert (len(positives), int(positives.relevant.sum())) == (size, pairs)
    assert sorted(outside) == [144_675, 467_259]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tied", pytest.param("random", marks=pytest.mark.long)])
def test_full_size_figures_equal_eccv_caption(tmp_path, kind):
    """All of eccv_caption's own recalls and mAP@R on the whole gallery, from lists it is given."""
    eccv_caption = pytest.importorskip("eccv_caption")
    rng = np.random.default_rng(0)
    gallery = coco_files._package_gallery()
    image = rng.standard_normal((5000, 16))
    text = image[gallery.owners] + 0.8 * rng.standard_normal((25_000, 16))
    if kind == "tied":
        image, text = np.sign(image), np.sign(text)
    arrays = {
        "image_ids": gallery.image_ids,
        "image_embeddings": image,
        "caption_ids": gallery.caption_ids,
        "caption_embeddings": text,
    }
    save_file(arrays, tmp_path / "x.safetensors")
    report = evaluate_file(tmp_path / "x.safetensors", ["coco", "eccv"])
    metrics = report.to_json()
    lists = {}
    for task, left, right, ids, items in (
        ("i2t", image, text, gallery.image_ids, gallery.caption_ids),
        ("t2i", text, image, gallery.caption_ids, gallery.image_ids),
    ):
        lists[task] = {}
        for start in range(0, len(left), 500):
            scores = left[start : start + 500] @ right.T
            # ties: the lower position first, as in a stable full sort; cut generously and sort the cut stably
            kth = -np.partition(-scores, 150, axis=1)[:, 150]
            for row, values in enumerate(scores):
                near = np.flatnonzero(values >= kth[row])
                order = near[np.argsort(-values[near], kind="stable")]
                lists[task][int(ids[start + row])] = items[order].tolist()
    theirs = eccv_caption.Metrics()
    wanted = ("coco_5k_recalls", "coco_1k_recalls")
    found = theirs.compute_all_metrics(lists["i2t"], lists["t2i"], wanted, Ks=(1, 5, 10))
    found |= theirs.eccv_metrics(lists, "all")
    for key in ("coco_5k", "coco_1k"):
        for k in (1, 5, 10):
            for task in ("i2t", "t2i"):
                assert metrics[f"{key}/{task}/r{k}"] == pytest.approx(found[f"{key}_r{k}"][task], abs=1e-12)
    for task in ("i2t", "t2i"):
        assert metrics[f"eccv/{task}/map_at_r"] == pytest.approx(found["eccv_map_at_r"][task], abs=1e-12)
        assert metrics[f"eccv/{task}/r_precision"] == pytest.approx(found["eccv_rprecision"][task], abs=1e-12)
        assert metrics[f"eccv/{task}/r1"] == pytest.approx(found["eccv_r1"][task], abs=1e-12)


def scores_file(small_coco, name="scores.safetensors", **changes):
    """The dot products of the small gallery as a file of scores, its rows and columns shuffled."""
    arrays = {name: values for name, values in small_coco.arrays.items() if not name.endswith("embeddings")}
    scores = small_coco.arrays["image_embeddings"] @ small_coco.arrays["caption_embeddings"].T
    path = small_coco.folder / name
    save_file(arrays | {"scores": scores} | changes, path)
    return path


def test_scores_of_pairs_give_what_their_embeddings_give(small_coco):
    wanted = ("coco", "cxc", "eccv")
    by_scores = evaluate_file(scores_file(small_coco), wanted, annotations=small_coco.folder, trials=20)
    by_embeddings = evaluate_file(small_coco.file, wanted, annotations=small_coco.folder, trials=20)
    assert set(by_scores.metrics["cxc"]) == {"i2t", "t2i", "sits"}
    found, expected = flat_metrics(by_scores.metrics), flat_metrics(by_embeddings.metrics)
    assert {"coco_1k/t2i/r5", "cxc/t2i/r1", "cxc/sits/spearman", "eccv/map_at_r"} <= set(found)
    assert found == pytest.approx({key: expected[key] for key in found})
    assert by_scores.protocol["similarity"] == "scores of the file"
    assert by_embeddings.protocol["similarity"] == "dot product"


def test_scores_of_own_pairs(tmp_path):
    arrays = {
        "image_ids": np.array([7, 8]),
        "caption_ids": np.array([1, 2, 3]),
        "caption_image_ids": np.array([7, 7, 8]),
        "scores": np.array([[0.1, 0.9, 0.5], [0.2, 0.3, 0.1]], dtype=np.float32),
    }
    save_file(arrays, tmp_path / "x.safetensors")
    metrics = evaluate_file(tmp_path / "x.safetensors", ["pairs"]).metrics["pairs"]
    # image 7 finds caption 2 first; image 8 finds caption 3 last; caption 1 finds image 8 first, the others image 7
    assert (metrics["i2t"]["r1"], metrics["t2i"]["r1"]) == (0.5, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"scores": np.zeros((3, 4), np.float32)},
            {},
            r"scores has shape \(3, 4\) for 20 image_ids",
        ),
        ({"image_embeddings": np.ones((2, 2), np.float32)}, {}, "holds scores and image_embeddings; which is meant"),
        ({}, {"normalize": True}, "scores have no length to normalize"),
        ({"scores": np.zeros((20, 100), np.int16)}, {}, "scores is int16; expected float32 or float64"),
    ],
)
def test_wrong_scores_are_refused(small_coco, changes, options, message):
    with pytest.raises(DataError, match=message):
        evaluate_file(scores_file(small_coco, **changes), ["coco"], annotations=small_coco.folder, **options)
