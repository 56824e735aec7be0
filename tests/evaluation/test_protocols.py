"""Figures of other evaluations, against what their public functions do, written out slowly."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from itm.errors import ConfigError, DataError
from itm.evaluation.commands import evaluate_app
from itm.evaluation.published import coco, coco_files, evaluate_file, pairs
from itm.vectors import Gallery

IMAGES = 30
OWNERS = np.repeat(np.arange(IMAGES), 5)


@pytest.fixture(params=["random", "tied"])
def data(request, tmp_path, monkeypatch):
    """A COCO of 30 photos, four of its texts used twice, one of these by one photo; its vectors."""
    rng = np.random.default_rng(3)
    texts = [f"caption  {n} ." for n in range(len(OWNERS))]
    for again, first in ((7, 0), (50, 3), (51, 3), (101, 100)):
        texts[again] = texts[first].replace("  ", " ")
    gallery = Gallery(rng.permutation(9000)[:IMAGES], rng.permutation(9000)[: len(OWNERS)], OWNERS, (), texts)
    monkeypatch.setattr(coco_files, "read_gallery", lambda folder: gallery)
    monkeypatch.setattr(coco, "read_gallery", lambda folder: gallery)
    monkeypatch.setattr(pairs, "read_gallery", lambda name, folder: gallery)
    monkeypatch.setitem(pairs.SIZES, "flickr30k", (IMAGES, len(OWNERS)))
    image = rng.standard_normal((IMAGES, 4))
    text = image[OWNERS] + 1.5 * rng.standard_normal((len(OWNERS), 4))
    if request.param == "tied":
        image, text = np.sign(image), np.sign(text)  # of length 2: scaled, all products are exact
    for again, first in ((7, 0), (50, 3), (51, 3), (101, 100)):
        text[again] = text[first]
    arrays = {"image_ids": gallery.image_ids, "image_embeddings": image}
    np.savez(tmp_path / "x.npz", **arrays, caption_ids=gallery.caption_ids, caption_embeddings=text)
    return gallery, image, text, tmp_path / "x.npz"


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def clip_benchmark_recall(scores, positive, k):
    """recall_at_k > 0, averaged: of each query the first k items, the share of right ones among them. Where scores
    tie, torch.topk promises no order; the lower position first is one that it may give."""
    found = []
    for row, right in zip(scores, positive, strict=True):
        first = sorted(range(len(row)), key=lambda item: (-row[item], item))[:k]
        found.append(sum(right[item] for item in first) / sum(right) > 0)
    return sum(found) / len(found)


def trec_eval(results, qrels, k):
    """ndcg_cut_k and recall_k of pytrec_eval: by score, then by id, both falling."""
    gains, shares = [], []
    for query, right in qrels.items():
        order = sorted(results[query].items(), key=lambda item: (item[1], item[0]), reverse=True)[:k]
        gain = sum(1 / math.log2(place + 2) for place, (document, _) in enumerate(order) if document in right)
        gains.append(gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(right)))))
        shares.append(sum(document in right for document, _ in order) / len(right))
    return sum(gains) / len(gains), sum(shares) / len(shares)


def exact(left, right):
    """Products that tie where their factors do."""
    return (left[:, None, :] * right[None]).sum(2)


def test_clip_benchmark(data):
    _, image, text, file = data
    found = evaluate_file(file, ["coco"], protocols=["clip_benchmark"]).metrics["clip_benchmark"]["coco"]
    scores = exact(unit(text), unit(image))
    positive = OWNERS[:, None] == np.arange(IMAGES)
    assert found["image_retrieval_recall@5"] == pytest.approx(clip_benchmark_recall(scores, positive, 5), abs=1e-12)
    assert found["text_retrieval_recall@5"] == pytest.approx(clip_benchmark_recall(scores.T, positive.T, 5), abs=1e-12)


def mteb_expected(gallery, image, text, merge):
    documents = {}
    for place, (one, words) in enumerate(zip(gallery.caption_ids, gallery.texts, strict=True)):
        key = " ".join(words.split()) if merge else place
        documents.setdefault(key, (str(one), place, set()))[2].add(str(gallery.image_ids[OWNERS[place]]))
    ids = [str(one) for one in gallery.image_ids]
    scores = exact(unit(image), unit(text))
    t2i = {one: {ids[i]: scores[i, place] for i in range(IMAGES)} for one, place, _ in documents.values()}
    i2t = {ids[i]: {one: scores[i, place] for one, place, _ in documents.values()} for i in range(IMAGES)}
    right = {one: images for one, _, images in documents.values()}
    right_texts = {each: {one for one, images in right.items() if each in images} for each in ids}
    return len(documents), {"t2i": (t2i, right), "i2t": (i2t, right_texts)}


@pytest.mark.parametrize(("name", "texts"), [("coco", 146), ("flickr30k", 150)])
def test_mteb(data, name, texts):
    gallery, image, text, file = data
    found = evaluate_file(file, [name], protocols=["mteb"]).metrics["mteb"][name]
    count, tasks = mteb_expected(gallery, image, text, name == "coco")
    assert count == texts
    for task, (results, qrels) in tasks.items():
        gain, _ = trec_eval(results, qrels, 10)
        assert found[task]["ndcg_at_10"] == pytest.approx(gain, abs=1e-12)
        for k in (1, 5, 10):
            assert found[task][f"recall_at_{k}"] == pytest.approx(trec_eval(results, qrels, k)[1], abs=1e-12)


def test_karpathy_is_the_benchmarks_own_figure(data):
    *_, file = data
    report = evaluate_file(file, ["coco"], protocols=["karpathy", "mteb"])
    own, found = report.metrics["coco_5k"], report.metrics["karpathy"]["coco"]
    assert (found["i2t"]["r1"], found["t2i"]["r10"], found["rsum"]) == (
        own["i2t"]["r1"],
        own["t2i"]["r10"],
        own["rsum"],
    )
    assert list(report.protocol["other_protocols"]) == ["karpathy", "mteb"]
    said = CliRunner().invoke(evaluate_app, ["--embeddings", str(file), "--benchmark", "coco", "--protocol", "mteb"])
    assert said.exit_code == 0, said.output
    assert "mteb/coco/t2i/ndcg_at_10" in said.output
    assert "mteb differs in" in said.output
    assert "ties: the higher id first" in " ".join(said.output.split())


def test_mteb_s_own_result_files(data, tmp_path):
    """The fields that MTEB's TaskResult demands; what only its own run could know says so."""
    *_, file = data
    words = ["--embeddings", file, "--benchmark", "coco,flickr30k", "--protocol", "mteb", "--out", tmp_path / "a.json"]
    (tmp_path / "a-mteb").touch()
    blocked = CliRunner().invoke(evaluate_app, [str(word) for word in words])
    assert "MSCOCOI2TRetrieval.json: cannot be written (not a directory)" in str(blocked.exception)
    (tmp_path / "a-mteb").unlink()
    done = CliRunner().invoke(evaluate_app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "a.json").read_text())
    tasks = {"MSCOCO": "coco", "Flickr30k": "flickr30k"}
    names = {f"{task}{way}Retrieval": f"mteb/{tasks[task]}/{way.lower()}" for task in tasks for way in ("I2T", "T2I")}
    assert {path.stem for path in (tmp_path / "a-mteb").iterdir()} == set(names)
    for name, key in names.items():
        found = json.loads((tmp_path / "a-mteb" / f"{name}.json").read_text())
        ((split, (scores,)),) = found.pop("scores").items()
        assert (split, scores.pop("hf_subset"), scores.pop("languages")) == ("test", "default", ["eng-Latn"])
        assert scores.pop("main_score") == scores["ndcg_at_10"] == metrics[f"{key}/ndcg_at_10"]
        assert {f"{key}/{each}": value for each, value in scores.items()}.items() <= metrics.items()
        assert found == {
            "task_name": name,
            "dataset_revision": "no_revision_available",
            **dict.fromkeys(("mteb_version", "evaluation_time", "kg_co2_emissions")),
        }
    plain = evaluate_file(file, ["coco"], protocols=["karpathy"])
    plain.write(tmp_path / "b.json")
    assert not (tmp_path / "b-mteb").exists()


def test_what_has_no_other_protocol_is_refused(data, tmp_path, monkeypatch):
    gallery, *_, file = data
    with pytest.raises(ConfigError, match="no protocol 'mtep'; did you mean 'mteb'"):
        evaluate_file(file, ["coco"], protocols=["mtep"])
    arrays = dict(np.load(file))
    np.savez(file, **arrays, caption_image_ids=gallery.image_ids[OWNERS])
    with pytest.raises(ConfigError, match="is about the benchmarks coco and flickr30k; found pairs"):
        evaluate_file(file, ["pairs"], protocols=["mteb"])
    without = Gallery(gallery.image_ids, gallery.caption_ids, OWNERS)
    monkeypatch.setattr(coco_files, "read_gallery", lambda folder: without)
    with pytest.raises(DataError, match="coco: MTEB's figure needs the captions' texts"):
        evaluate_file(file, ["coco"], protocols=["mteb"])


def read_trec(name):
    """{query: {item: score}} of a run, {query: set of items} of the judgements."""
    run, qrels = {}, {}
    for line in name.with_suffix(".run").read_text().splitlines():
        query, _, item, _, score, _ = line.split()
        run.setdefault(query, {})[item] = np.float32(score)
    for line in name.with_suffix(".qrels").read_text().splitlines():
        query, _, item, _ = line.split()
        qrels.setdefault(query, set()).add(item)
    return run, qrels


def test_trec_files_give_our_figures_elsewhere(data, tmp_path):
    """By trec_eval's order (score, then id, both falling) the share of queries with an answer among the first K."""
    *_, file = data
    report = evaluate_file(file, ["coco", "flickr30k"])
    report.write_trec(tmp_path / "trec")
    names = {"coco-i2t", "coco-t2i", "flickr30k-i2t", "flickr30k-t2i"}
    assert {path.stem for path in (tmp_path / "trec").iterdir()} == names
    for task in ("i2t", "t2i"):
        run, qrels = read_trec(tmp_path / "trec" / f"coco-{task}")
        assert all(len(set(items.values())) == len(items) for items in run.values())
        for k in (1, 5, 10):
            hits = []
            for query, items in run.items():
                first = sorted(items, key=lambda item: (items[item], item), reverse=True)[:k]
                hits.append(bool(qrels[query].intersection(first)))
            assert np.mean(hits) == pytest.approx(report.metrics["coco_5k"][task][f"r{k}"], abs=1e-12)


def test_without_retrieval_there_is_no_run(tmp_path):
    from itm.evaluation.published import Report

    with pytest.raises(DataError, match="no benchmark here has runs to write: coco, cxc"):
        Report().write_trec(tmp_path)
