import json

import numpy as np
import pytest
from typer.testing import CliRunner

from itm.errors import ConfigError, DataError
from itm.evaluation.commands import compare_app, evaluate_app
from itm.evaluation.compare import compare
from itm.evaluation.published import evaluate_file
from itm.evaluation.result import read_per_query, write_result
from itm.evaluation.tables import Tables
from itm.metrics import holm
from itm.vectors.pipeline import read_embeddings


def pairs_file(path, noise, images=60, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((images, 8))
    owners = np.repeat(np.arange(images), 3)
    text = image[owners] + noise * rng.standard_normal((len(owners), 8))
    np.savez(
        path,
        image_ids=np.arange(images) + 1000,
        image_embeddings=image,
        caption_ids=np.arange(len(owners)) + 5000,
        caption_embeddings=text,
        caption_image_ids=owners + 1000,
    )
    return path


@pytest.fixture
def ranks(tmp_path):
    for name, noise in (("good", 0.5), ("bad", 1.5)):
        report = evaluate_file(pairs_file(tmp_path / f"{name}.npz", noise), ["pairs"])
        report.write(tmp_path / f"{name}.json", tmp_path / f"{name}.parquet")
    return tmp_path


def test_stored_ranks_give_the_metrics_again(ranks):
    metrics = json.loads((ranks / "bad.json").read_text())
    stored = read_per_query(ranks / "bad.parquet")
    for key in ("pairs/i2t/r1", "pairs/t2i/r5", "pairs/t2i/r10"):
        assert stored[key].values.mean() == pytest.approx(metrics[key])
    assert stored["pairs/t2i/r1"].groups.tolist() == np.repeat(np.arange(60) + 1000, 3).tolist()


def test_a_better_method_is_found_and_holm_is_stricter(ranks):
    rows = compare(ranks / "bad.parquet", ranks / "good.parquet", samples=2000)
    assert [row.metric for row in rows] == [f"pairs/{task}/r{k}" for task in ("i2t", "t2i") for k in (1, 5, 10)]
    first = rows[3]
    assert first.comparison.difference == pytest.approx(first.b - first.a)
    assert first.comparison.low > 0
    assert first.holm_p < 0.05
    assert [row.holm_p for row in rows] == holm([row.comparison.p for row in rows]).tolist()
    assert any(row.holm_p > row.comparison.p for row in rows)
    assert first.comparison.groups == 60  # images, not captions, are what is resampled


def test_seeds_of_a_pipeline_method_are_read_together(world, parameters, tmp_path):
    from itm.evaluation.benchmarks import cxc, false_negatives, hierarcaps, judgements, retrieval

    tables, embeddings = Tables(world.clean, world.scored, "test"), read_embeddings(world.embeddings)
    for seed in (0, 1):
        for benchmark in (retrieval, cxc, false_negatives, hierarcaps, judgements):
            name = benchmark.__name__.rsplit(".", 1)[1]
            result = benchmark.evaluate(tables, embeddings, parameters)
            write_result(result, tmp_path / "m.json", tmp_path / "clip" / f"seed{seed}" / f"{name}.npz", 4)
            expected = result.metrics
            if name == "retrieval":
                retrieval_metrics = expected
            if name == "cxc":
                cxc_metrics = expected
            if name == "judgements":
                judgement_metrics = expected
    stored = read_per_query(tmp_path / "clip")
    assert stored["retrieval/t2i/r1"].values.shape == (2, len(world.owners))
    assert stored["retrieval/t2i/r1"].values.mean() == pytest.approx(retrieval_metrics["t2i"]["r1"])
    for key in ("t2i/r1", "t2t/r1", "i2i/r5"):  # unanswerable queries are misses in t2i, not asked in t2t and i2i
        task, name = key.split("/")
        assert stored[f"cxc/{key}"].values.mean() == pytest.approx(cxc_metrics[task][name])
    assert {"false_negatives/i2t/map_at_r", "hierarcaps/tau_d", "false_negatives/order/level"} <= set(stored)
    wanted = ["retrieval/*", "hierarcaps/tau_d", "*/spearman*"]
    rows = compare(tmp_path / "clip", tmp_path / "clip", wanted, samples=50)
    figures = {row.metric: row.a for row in rows}
    assert figures["cxc/sits/spearman_all_pairs"] == pytest.approx(cxc_metrics["sits"]["spearman_all_pairs"])
    assert figures["judgements/expert/spearman"] == pytest.approx(judgement_metrics["expert"]["spearman"])
    assert {row.comparison.difference for row in rows} == {0.0}
    assert {row.seeds for row in rows} == {(2, 2)}


def test_commands_print_and_write(ranks):
    run = CliRunner().invoke
    found = run(evaluate_app, ["--benchmark", "pairs", "--embeddings", str(ranks / "good.npz"), "--normalize"])
    assert found.exit_code == 0
    assert "pairs/i2t/r1" in found.output
    listed = run(evaluate_app, ["--benchmark", "list"])
    assert "hierarcaps" in listed.output
    assert "quoted" in listed.output
    files = [str(ranks / "bad.parquet"), str(ranks / "good.parquet")]
    found = run(compare_app, [*files, "--metric", "pairs/*/r1", "--samples", "100", "--out", str(ranks / "c.json")])
    assert found.exit_code == 0
    assert [row["metric"] for row in json.loads((ranks / "c.json").read_text())] == ["pairs/i2t/r1", "pairs/t2i/r1"]


def test_what_cannot_be_compared_is_refused(ranks, tmp_path):
    good = ranks / "good.parquet"
    with pytest.raises(ConfigError, match=r"no metric 'pairs.\*.r1'; did you mean 'pairs/\*/r1'"):
        compare(good, good, ["pairs/i2t", "pairs.*.r1"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no per-query values"):
        compare(good, tmp_path / "empty")
    other = evaluate_file(pairs_file(tmp_path / "small.npz", 1.0, images=50), ["pairs"])
    other.write(None, tmp_path / "small.parquet")
    with pytest.raises(DataError, match="6 metrics were computed on different queries"):
        compare(good, tmp_path / "small.parquet")


def shuffled(path, seed=0):
    """The same file with its rows in another order."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    order = np.random.default_rng(seed).permutation(len(table))
    other = path.with_stem(f"{path.stem}-shuffled")
    pq.write_table(table.take(order), other)
    return other


def test_the_same_queries_in_another_order_are_the_same(ranks):
    good, bad = ranks / "good.parquet", ranks / "bad.parquet"
    expected = {row.metric: row for row in compare(bad, good, samples=200)}
    found = compare(bad, shuffled(good), samples=200)
    assert {row.metric: row for row in found} == expected
    assert {row.comparison.difference for row in compare(good, shuffled(good), samples=20)} == {0.0}


def rated(path, ids, groups, scores, ratings, order=slice(None)):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [("model_score", *each) for each in zip(ids, groups, scores, strict=True)]
    rows += [("rating", *each) for each in list(zip(ids, groups, ratings, strict=True))[order]]
    metric, query, group, value = zip(*rows, strict=True)
    columns = {"metric": metric, "query_id": query, "group_id": group, "value": value}
    fixed = {"benchmark": ["cxc"] * len(rows), "task": ["sits"] * len(rows)}
    pq.write_table(pa.table(fixed | columns), path)
    return path


def test_ratings_belong_to_the_query_of_their_row(tmp_path):
    """Four pairs whose scores rise as their ratings do; in one file the ratings lie in the opposite order."""
    columns = [1, 2, 3, 4], [7, 7, 8, 8], [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    paths = [rated(tmp_path / f"{n}.parquet", *columns, slice(None, None, step)) for n, step in enumerate((1, -1))]
    (row,) = compare(*paths, samples=5)
    assert (row.a, row.b) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": [1, 2, 3, 3]}, "0.parquet: cxc/sits/model_score: a query comes twice"),
        ({"ids": [1, 2, 3, 9]}, "1 metrics were computed on different queries"),
        ({"groups": [7, 8, 8, 8]}, "1 metrics were computed on different queries"),
        ({"ratings": [1.0, 2.0, 4.0, 3.0]}, "1 metrics were computed on different queries"),
    ],
)
def test_what_is_not_the_same_is_no_pair(tmp_path, change, message):
    columns = {"ids": [1, 2, 3, 4], "groups": [7, 7, 8, 8], "scores": [0.1, 0.2, 0.3, 0.4], "ratings": [1.0, 2, 3, 4]}
    paths = rated(tmp_path / "0.parquet", **columns | change), rated(tmp_path / "1.parquet", **columns)
    with pytest.raises(DataError, match=message):
        compare(*paths, samples=5)


def test_captions_of_the_pipeline_are_paired_by_id(tmp_path):
    """Two methods that saw the same three captions in opposite orders."""
    captions = {"caption_ids": np.array([5, 6, 7]), "owners": np.array([0, 0, 1]), "t2i_rank": np.array([0, 9, 9])}
    for name, step in (("a", 1), ("b", -1)):
        (tmp_path / name / "seed0").mkdir(parents=True)
        arrays = {key: values[::step] for key, values in captions.items()}
        np.savez(tmp_path / name / "seed0/retrieval.npz", image_ids=np.array(["x", "y"]), protocol="{}", **arrays)
    rows = compare(tmp_path / "a", tmp_path / "b", samples=20)
    assert [row.metric for row in rows] == [f"retrieval/t2i/r{k}" for k in (1, 5, 10)]
    assert {(row.comparison.low, row.comparison.high) for row in rows} == {(0.0, 0.0)}


@pytest.mark.parametrize(
    ("column", "other"),
    [("benchmark", b"a"), ("task", [1]), ("metric", 3), ("value", b"a"), ("value", [1]), ("value", "a")],
)
def test_columns_of_another_type_are_one_message(tmp_path, column, other):
    import pyarrow as pa
    import pyarrow.parquet as pq

    good = {"benchmark": "b", "task": "i2t", "metric": "rank", "query_id": 1, "group_id": 1, "value": 0.0}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({name: [value] for name, value in (good | {column: other}).items()}), path)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read .*; write it again with"):
        read_per_query(path)
