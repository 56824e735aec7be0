"""Each benchmark on the small world, against figures recomputed from the raw rows in the plainest way."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from itm.errors import DataError
from itm.evaluation.benchmarks import cxc, false_negatives, hierarcaps, judgements, retrieval
from itm.evaluation.tables import Tables
from itm.metrics import CollapseWarning, bootstrap_spearman
from itm.vectors.pipeline import read_embeddings


def run(benchmark, world, parameters):
    return benchmark.evaluate(Tables(world.clean, world.scored, "test"), read_embeddings(world.embeddings), parameters)


def scores(world):
    return world.image.astype(np.float64) @ world.text[: len(world.owners)].T.astype(np.float64)


def best_rank(row, answers):
    order = np.argsort(-row, kind="stable").tolist()
    return min((order.index(item) for item in answers), default=len(row))


def rating_rows(world, kind):
    return [row for row in pq.read_table(world.clean / "ratings.parquet").to_pylist() if row["kind"] == kind]


def test_retrieval(world, parameters):
    result = run(retrieval, world, parameters)
    similarity = scores(world)
    i2t = [best_rank(row, np.flatnonzero(world.owners == image)) for image, row in enumerate(similarity)]
    t2i = [best_rank(row, [owner]) for owner, row in zip(world.owners, similarity.T, strict=True)]
    assert result.per_query["i2t_rank"].tolist() == i2t
    assert result.per_query["t2i_rank"].tolist() == t2i
    expected = {f"r{k}": np.mean(np.array(t2i) < k) for k in (1, 5, 10)}
    assert {key: result.metrics["t2i"][key] for key in expected} == pytest.approx(expected)
    recalls = [np.mean(np.array(ranks) < k) for ranks in (i2t, t2i) for k in (1, 5, 10)]
    assert result.metrics["rsum"] == pytest.approx(100 * sum(recalls))
    assert result.protocol["denominators"] == {"i2t": 12, "t2i": len(world.owners)}
    assert result.per_query["t2i_top"].tolist() == np.argsort(-similarity.T, axis=1, kind="stable")[:, :10].tolist()


def test_a_collapsed_model_scores_as_chance_with_a_warning(world, parameters):
    from dataclasses import replace

    embeddings = read_embeddings(world.embeddings)
    constant = replace(embeddings, image=np.ones_like(embeddings.image), text=np.ones_like(embeddings.text))
    tables = Tables(world.clean, world.scored, "test")
    with pytest.warns(CollapseWarning, match="retrieval t2i: the best answer ties with"):
        metrics = retrieval.evaluate(tables, constant, parameters).metrics
    first_image_owns = np.mean(world.owners == 0)
    assert metrics["t2i"]["r1"] == pytest.approx(first_image_owns)
    with pytest.warns(RuntimeWarning):
        metrics = cxc.evaluate(tables, constant, parameters).metrics
    assert np.isnan(metrics["sts"]["spearman"])
    metrics = false_negatives.evaluate(tables, constant, parameters).metrics
    assert metrics["threshold"]["average_precision"] == pytest.approx(metrics["threshold"]["base_rate"])
    assert metrics["order"] == {"level": 0.0, "descriptiveness": 0.0}
    metrics = hierarcaps.evaluate(tables, constant, parameters).metrics
    assert metrics["tau_d"] == 0.0


def test_cxc_retrieval(world, parameters):
    result = run(cxc, world, parameters)
    similarity = scores(world)
    caption_at = {caption: place for place, caption in enumerate(world.caption_ids.tolist())}
    image_at = {image: place for place, image in enumerate(world.image_ids.tolist())}
    sits = [
        (caption_at[row["caption_id_1"]], image_at[row["image_id_1"]])
        for row in rating_rows(world, "sits")
        if row["score"] >= 3
    ]
    i2t = [best_rank(similarity[image], {c for c, i in sits if i == image}) for image in range(12)]
    t2i = [best_rank(similarity[:, caption], {i for c, i in sits if c == caption}) for caption in caption_at.values()]
    assert result.per_query["i2t_rank"].tolist() == i2t
    assert result.per_query["t2i_rank"].tolist() == t2i
    answered = [
        rank for rank, caption in zip(t2i, caption_at.values(), strict=True) if any(c == caption for c, _ in sits)
    ]
    assert result.metrics["t2i"]["r1"] == pytest.approx(np.mean(np.array(t2i) < 1))
    assert result.metrics["t2i"]["answerable"]["r1"] == pytest.approx(np.mean(np.array(answered) < 1))

    text = world.text[: len(world.owners)].astype(np.float64)
    between = text @ text.T
    np.fill_diagonal(between, -np.inf)
    friends = [set(np.flatnonzero(world.owners == owner)) - {c} for c, owner in enumerate(world.owners)]
    for row in rating_rows(world, "sts"):
        if row["score"] >= 3:
            one, other = caption_at[row["caption_id_1"]], caption_at[row["caption_id_2"]]
            friends[one].add(other)
            friends[other].add(one)
    assert result.per_query["t2t_rank"].tolist() == [best_rank(r, f) for r, f in zip(between, friends, strict=True)]

    image = world.image.astype(np.float64)
    alike = image @ image.T
    np.fill_diagonal(alike, -np.inf)
    friends = [set() for _ in range(12)]
    for row in rating_rows(world, "sis"):
        if row["score"] >= 2.5:
            one, other = image_at[row["image_id_1"]], image_at[row["image_id_2"]]
            friends[one].add(other)
            friends[other].add(one)
    expected = [best_rank(row, f) for row, f in zip(alike, friends, strict=True) if f]
    answerable = result.per_query["i2i_answerable"]
    assert result.per_query["i2i_rank"][answerable].tolist() == expected
    assert result.metrics["i2i"]["r1"] == pytest.approx(np.mean(np.array(expected) < 1))
    assert result.protocol["denominators"]["i2i"] == len(expected)


def test_cxc_correlations(world, parameters):
    from scipy.stats import spearmanr

    result = run(cxc, world, parameters)
    similarity = scores(world)
    rows = rating_rows(world, "sits")
    model = [
        similarity[world.image_ids.tolist().index(r["image_id_1"]), world.caption_ids.tolist().index(r["caption_id_1"])]
        for r in rows
    ]
    expected = spearmanr(model, [row["score"] for row in rows]).statistic
    assert result.metrics["sits"]["spearman_all_pairs"] == pytest.approx(expected, abs=1e-12)
    assert result.metrics["sits"]["spearman"] == pytest.approx(result.per_query["sits_trials"].mean())
    assert result.metrics["sts"]["std"] == pytest.approx(result.per_query["sts_trials"].std())
    assert len(result.per_query["sis_trials"]) == parameters.bootstrap_samples


def test_hierarcaps(world, parameters):
    result = run(hierarcaps, world, parameters)
    captions = len(world.owners)
    text, root = world.text[captions:-1], world.text[-1]
    names = [name for chain in world.chains for name in chain]
    unit = lambda v: v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=-1, keepdims=True)  # noqa: E731
    text, root, image = unit(text), unit(root), unit(world.image)
    first = [names.index(name) for name in names]  # a repeated text is one text: its first embedding counts
    radius = np.linalg.norm(text - root, axis=1)[first]
    similarity = (image @ text.T)[:, first]
    precision, recall = [], []
    for number, chain in enumerate(world.chains):
        said = []
        for limit in np.linspace(radius.min(), radius.max(), 50):
            allowed = np.where(radius <= limit, similarity[number], -np.inf)
            said.append(names[int(np.argmax(allowed))])
        precision.append(len(set(said) & set(chain)) / len(set(said)))
        recall.append(np.mean([text in said for text in chain]))
    assert result.metrics["radius_levels"]["precision"] == pytest.approx(np.mean(precision))
    assert result.metrics["radius_levels"]["recall"] == pytest.approx(np.mean(recall))
    chains = radius.reshape(12, 4)
    tau = [np.mean([np.sign(c[j] - c[i]) for i in range(4) for j in range(i + 1, 4)]) for c in chains]
    assert result.metrics["tau_d"] == pytest.approx(np.mean(tau))
    # "thing 0", "thing 0 more", "thing 0 more still", "image 0": 2, 3, 4 and 2 words
    assert result.protocol["tau_d_of_word_count"] == round((3 - 2) / 6, 4)


def test_judgements(world, parameters):
    from scipy.stats import kendalltau, spearmanr

    result = run(judgements, world, parameters)
    similarity = scores(world)
    for kind, variant, metric in (("expert", "c", "tau_c"), ("crowdflower", "b", "tau_b")):
        model, score, own = [], [], []
        for row in rating_rows(world, kind):
            image = world.image_ids.tolist().index(row["image_id_1"])
            caption = world.caption_ids.tolist().index(row["caption_id_1"])
            model.append(similarity[image, caption])
            score.append(row["score"])
            own.append(world.owners[caption] == image)
        model, score, own = np.array(model), np.array(score), np.array(own)
        keep = ~own if kind == "expert" else np.ones(len(own), dtype=bool)
        found = result.metrics[kind]
        assert found[metric] == pytest.approx(
            kendalltau(model[keep], score[keep], variant=variant).statistic, abs=1e-12
        )
        if kind == "expert":  # three judges a pair, in rows that follow each other
            means = score.reshape(-1, 3).mean(axis=1)
            rho = spearmanr(model[::3][~own[::3]], means[~own[::3]]).statistic
            assert found["spearman"] == pytest.approx(rho, abs=1e-12)
            assert found["with_own"]["tau_c"] == pytest.approx(
                kendalltau(model, score, variant="c").statistic, abs=1e-12
            )
    assert result.protocol["pairs"]["expert"]["own_caption"] == int(own.sum())


def test_false_negatives(world, parameters, tmp_path):
    from sklearn.metrics import average_precision_score

    result = run(false_negatives, world, parameters)
    similarity = scores(world)
    true = world.grade == 5
    labelled = np.zeros_like(true)
    labelled[world.owners, np.arange(len(world.owners))] = True
    for name, row_scores, truth, label in (
        ("i2t", similarity, true, labelled),
        ("t2i", similarity.T, true.T, labelled.T),
    ):
        precision, average, unlabelled = [], [], []
        for row, positive, given in zip(row_scores, truth, label, strict=True):
            order = np.argsort(-row, kind="stable")[: positive.sum()]
            hits = positive[order]
            precision.append(hits.mean())
            average.append(np.sum(hits * np.cumsum(hits) / np.arange(1, len(hits) + 1)) / len(hits))
            rest = positive & ~given
            if rest.any():
                unlabelled.append(rest[order].sum() / rest.sum())
        assert result.metrics[name]["r_precision"] == pytest.approx(np.mean(precision))
        assert result.metrics[name]["map_at_r"] == pytest.approx(np.mean(average))
        assert result.metrics[name]["unlabelled_recall"] == pytest.approx(np.mean(unlabelled))
    expected = average_precision_score(true.ravel(), similarity.ravel())
    assert result.metrics["threshold"]["average_precision"] == pytest.approx(expected)
    assert result.protocol["unlabelled_pairs"] == int((true & ~labelled).sum())


def test_ratings_about_another_split_are_counted_or_refused(world, parameters):
    table = pq.read_table(world.clean / "ratings.parquet")
    pq.write_table(table.slice(0, 0), world.clean / "ratings.parquet")
    with pytest.raises(DataError, match="no rating of kind sts, sis, sits is about the split 'test'"):
        run(cxc, world, parameters)
    with pytest.raises(DataError, match="no judgement is about the split 'test'"):
        run(judgements, world, parameters)


def test_chains_must_have_four_levels(world, parameters):
    table = pq.read_table(world.clean / "hierarchies.parquet")
    pq.write_table(table.slice(1), world.clean / "hierarchies.parquet")
    with pytest.raises(DataError, match="each chain must be four rows"):
        run(hierarcaps, world, parameters)


@pytest.mark.parametrize("kind", ["sits", "sts", "sis"])
def test_the_query_of_a_rated_pair_is_its_image_or_both_of_its_items(kind):
    rng = np.random.default_rng(0)
    ratings = cxc.Ratings(rng.integers(0, 30, 90), rng.integers(0, 12, 90), rng.integers(0, 6, 90) / 1.0, 0)
    model = rng.random(90)
    _, trials = cxc.correlate(kind, ratings, model, 20, 3)
    queries = ratings.second if kind == "sits" else np.concatenate((ratings.first, ratings.second))
    given = (np.tile(values, len(queries) // 90) for values in (ratings.score, model))
    assert trials.tolist() == bootstrap_spearman(queries, *given, trials=20, seed=3).trials.tolist()
