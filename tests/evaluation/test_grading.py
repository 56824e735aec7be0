"""The benchmark `grading` against slow and obvious computations."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from itm.errors import DataError, ModelError
from itm.evaluation.benchmarks import grading
from itm.evaluation.half_truths import half_truths
from itm.evaluation.tables import Tables
from itm.grading import fit_calibrator
from itm.grading.calibrator import write_no_grade
from itm.grading.texts import describe, idf_hash
from itm.text.tables import read_idf
from itm.vectors.pipeline import read_embeddings


@pytest.fixture
def tables(world):
    return Tables(world.clean, world.scored, "test")


@pytest.fixture
def graded(world, tables, tmp_path):
    """The embeddings with a calibrator of their own pairs, and that calibrator."""
    return with_grade(read_embeddings(world.embeddings), tables, tmp_path / "grade.json")


def with_grade(embeddings, tables, path):
    scorer = embeddings.scorer(tables.images["image_id"], tables.captions["row"])
    idf = idf_hash(read_idf(tables.scored / "idf.parquet"))
    calibrator = fit_calibrator(scorer, tables.owners, tables.descriptiveness, model="m", idf=idf)
    calibrator.save(path)
    return replace(embeddings, grade=path), calibrator


def test_every_figure_by_hand(world, tables, graded, parameters):
    embeddings, calibrator = graded
    result = grading.evaluate(tables, embeddings, parameters)
    s = world.image.astype(np.float64) @ world.text[: len(world.owners)].astype(np.float64).T
    true, d = world.grade == 5, tables.descriptiveness
    for name, specificity in (("specificity_0", 0), ("specificity_05", 0.5), ("specificity_1", 1)):
        grades = calibrator.grade(s, d, specificity)
        average, order, hits = [], [], {1: 0, 5: 0, 10: 0}
        for image, row in enumerate(grades):
            ranked = np.argsort(-row)[: true[image].sum()]
            hit = true[image][ranked]
            average.append(sum(hit[: n + 1].mean() for n in np.flatnonzero(hit)) / len(ranked))
            own = np.flatnonzero(world.owners == image)
            pairs = [(a, b) for a in own for b in own if a < b]  # levels rise with the position
            order.append(np.mean([np.sign(row[b] - row[a]) for a, b in pairs]))
            for k in hits:
                hits[k] += bool(set(own) & set(np.argsort(-row)[:k]))
        found = result.metrics[name]
        assert found["map_at_r"] == pytest.approx(np.mean(average))
        assert found["order"] == pytest.approx(np.mean(order))
        columns = [np.mean((s > s[owner, c])[:, c].sum() < k) for k in hits for c, owner in enumerate(world.owners)]
        assert found["rsum"] == pytest.approx(100 * sum(hits.values()) / 12 + 100 * sum(columns) / len(world.owners))
        assert result.per_query[f"{name}_order"] == pytest.approx(order)
        assert result.per_query[f"{name}_top"][:, 0].tolist() == grades.argmax(axis=1).tolist()
    p = calibrator.probability(s, d)
    places = np.minimum((p * 10).astype(int), 9)
    ece = sum(abs((p - true)[places == n].sum()) for n in range(10)) / p.size
    figures = result.metrics["probability"]
    assert figures["ece"] == pytest.approx(ece)
    assert figures["brier"] == pytest.approx(((p - true) ** 2).mean())
    assert figures["predicted_pairs"] == pytest.approx(p.sum() / true.sum())
    assert figures["by_descriptiveness"].keys() == {f"group_{n}" for n in (1, 2, 3, 4)}
    said = p >= 0.5
    f1 = [2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in zip(said, true, strict=True)]
    assert figures["set_f1"] == pytest.approx(np.mean(f1))
    assert result.per_query["predicted_multiplicity"] == pytest.approx(p.sum(axis=0))
    judged = result.metrics["crowdflower"]
    assert 0 < judged["brier"] < 1
    assert result.protocol["judged_pairs"] == 3 * len(world.owners)
    curve = [result.per_query[f"frontier_{key}"] for key in ("order", "map_at_r")]
    grid = np.mean([(curve[0] >= x) & (curve[1] >= y) for x, y in np.random.default_rng(0).random((20000, 2))], axis=0)
    assert result.metrics["frontier"]["area"] >= grid.max() - 0.02  # at least the largest single rectangle


def test_scores_rise_along_chains(world, tables, graded, parameters):
    embeddings, calibrator = graded
    found = grading.evaluate(tables, embeddings, parameters).metrics["monotonicity"]
    texts = [text for chain in world.chains for text in chain]
    first = [texts.index(text) for text in texts]  # equal texts are one
    chains = world.text[len(world.owners) : -1][first].reshape(12, 4, -1)
    similarity = np.einsum("id,ikd->ik", world.image.astype(np.float64), chains.astype(np.float64))
    d = describe(texts, read_idf(world.scored / "idf.parquet"))
    for name, scores in (
        ("similarity", similarity),
        ("specificity_1", calibrator.grade(similarity, d.reshape(12, 4), 1)),
    ):
        assert found[name]["rising"] == np.mean((np.diff(scores) > 0).all(axis=1))
        assert found[name]["pearson"] == pytest.approx(np.mean([np.corrcoef(row, range(4))[0, 1] for row in scores]))


TEXTS = ["a square", "an orange square", "a small square", "a small orange square", "square a small", "a square"]


def test_half_truths_are_one_wrong_word_more_of_any_image():
    truth = np.array([[1, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 1]], dtype=bool)
    found = half_truths(TEXTS, np.array([0, 0, 1, 1, 1, 1]), truth)
    pairs = set(zip(*(rows.tolist() for rows in found), strict=True))
    # of image 1 "a small orange square" (its own, labelled) is false, and so no truth that could be halved
    assert pairs == {(0, 0, 2), (0, 1, 3), (1, 2, 3), (1, 5, 1)}
    assert [len(rows) for rows in half_truths([], np.zeros(0, np.int64), np.zeros((2, 0), bool))] == [0, 0, 0]


def test_what_only_counts_details_fails_half_truths_and_what_sees_them_does_not(world, tables, parameters, tmp_path):
    """Scores of pairs: the length of the caption; and the same on top of the truth."""
    table = pq.read_table(world.clean / "captions.parquet")
    rng = np.random.default_rng(1)
    words = [["thing", *rng.choice(list("pqrs"), rng.integers(0, 4), replace=False).tolist()] for _ in world.owners]
    texts = ["a training caption"] * 4 + [" ".join(sorted(each)) for each in words]
    pq.write_table(
        table.set_column(table.schema.get_field_index("text"), "text", [texts]), world.clean / "captions.parquet"
    )
    d = np.array([len(each) for each in words], dtype=float)
    scored = pq.read_table(world.scored / "captions.parquet").set_column(1, "descriptiveness", [np.r_[np.zeros(4), d]])
    pq.write_table(scored, world.scored / "captions.parquet")
    embeddings = read_embeddings(world.embeddings)
    noise = 0.1 * rng.standard_normal((12, len(d)))
    found = {}
    for name, weight in (("counts", 0.0), ("sees", 2.0)):
        scores = (d + weight * (world.grade == 5) + (noise if weight else 0)).astype(np.float32)
        pairwise = replace(
            embeddings, scores=scores, scored_images=world.image_ids, scored_texts=tables.captions["row"]
        )
        if weight:
            pairwise, _ = with_grade(pairwise, tables, tmp_path / "grade.json")
        result = grading.evaluate(tables, pairwise, parameters)
        found[name] = result.metrics["half_truth"]
        assert result.protocol["half_truths"] > 20
        assert "monotonicity" not in result.metrics  # texts of chains have no scores
    assert found["counts"] == {"similarity": 0.0}
    assert found["sees"]["specificity_0"] > 0.9


def test_a_model_without_a_grade_has_the_figures_of_its_similarity(world, tables, graded, parameters, tmp_path):
    write_no_grade(tmp_path / "none.json", "it has collapsed")
    result = grading.evaluate(tables, replace(graded[0], grade=tmp_path / "none.json"), parameters)
    assert result.metrics.keys() == {"monotonicity"}
    assert result.metrics["monotonicity"].keys() == {"similarity"}
    assert "this model has no grade: it has collapsed" in result.protocol["grade"]
    assert grading.evaluate(tables, replace(graded[0], grade=None), parameters).protocol["grade"] == "none"


def test_without_a_known_truth_there_is_what_labels_allow(world, tables, graded, parameters):
    (world.clean / "truth.npz").unlink()
    metrics = grading.evaluate(tables, graded[0], parameters).metrics
    assert metrics.keys() == {"specificity_0", "specificity_05", "specificity_1", "crowdflower", "monotonicity"}
    assert metrics["specificity_0"].keys() == {"order", "rsum"}


def test_a_calibrator_of_another_idf_table_or_none_at_all_is_refused(world, tables, graded, parameters, tmp_path):
    embeddings, calibrator = graded
    replace(calibrator, idf="another").save(tmp_path / "other.json")
    with pytest.raises(ModelError, match="fitted for the idf table 'another'"):
        grading.evaluate(tables, replace(embeddings, grade=tmp_path / "other.json"), parameters)
    with pytest.raises(DataError, match=r"absent\.json: no such file"):
        grading.evaluate(tables, replace(embeddings, grade=tmp_path / "absent.json"), parameters)
