"""Chance levels against all orders of a small gallery, and against the mean of random models."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm.evaluation.benchmarks import cxc, false_negatives, retrieval
from itm.evaluation.keys import flat_metrics
from itm.evaluation.tables import Tables
from itm.report.chance import chance_levels, hit_rate, map_at_r
from itm.report.results import collect
from itm.vectors.pipeline import Embeddings


@settings(max_examples=25)
@given(st.integers(1, 5), st.data())
def test_hit_rate_and_map_are_the_mean_over_all_orders(gallery, data):
    answers = data.draw(st.integers(1, gallery))
    k = data.draw(st.integers(1, gallery + 1))
    hits, precisions = [], []
    for order in permutations(range(gallery)):
        right = np.array(order) < answers
        hits.append(right[:k].any())
        first = right[:answers]
        precisions.append((np.cumsum(first) / np.arange(1, answers + 1))[first].sum() / answers)
    assert hit_rate([answers], gallery, k) == pytest.approx(np.mean(hits))
    assert map_at_r([answers], gallery) == pytest.approx(np.mean(precisions))


def test_queries_without_an_answer_miss_and_have_no_map():
    assert hit_rate([0], 3, 3) == 0
    assert map_at_r([0, 3], 3) == 1


@pytest.mark.slow
def test_levels_are_the_mean_of_random_models(workspace):
    found = collect(workspace.runs, workspace.evaluations, ["clip"], [0], ["retrieval", "cxc", "false_negatives"])
    levels = chance_levels(found, workspace.parameters, workspace.clean, workspace.scored)
    tables = Tables(workspace.clean, workspace.scored, "test")
    rng, draws = np.random.default_rng(1), {}
    ids = np.arange(3, 3 + len(workspace.captions))
    for _ in range(12):
        image, text = rng.standard_normal((36, 64)), rng.standard_normal((len(ids), 64))
        model = Embeddings(np.array(workspace.image_ids), image, ids, text, {})
        for module in (retrieval, cxc, false_negatives):
            name = module.__name__.rsplit(".", 1)[-1]
            metrics = module.evaluate(tables, model, workspace.parameters.evaluate).metrics
            for key, value in flat_metrics(metrics).items():
                draws.setdefault((name, key), []).append(value)
    compared = 0
    for (benchmark, key), values in draws.items():
        if key in levels[benchmark] and not key.endswith(("mean_rank", "rsum", "best_f1")):
            error = np.std(values) / np.sqrt(len(values))
            assert levels[benchmark][key] == pytest.approx(np.mean(values), abs=0.01 + 4 * error), (benchmark, key)
            compared += 1
    assert compared > 30
    assert levels["retrieval"]["rsum"] == pytest.approx(np.mean(draws["retrieval", "rsum"]), abs=6)


@pytest.mark.slow
def test_the_hierarchy_has_levels_from_random_embeddings(workspace):
    found = collect(workspace.runs, workspace.evaluations, ["clip"], [0], ["hierarcaps"])
    levels = chance_levels(found, workspace.parameters, workspace.clean, workspace.scored)["hierarcaps"]
    assert levels["tau_d"] == 0
    assert 0 < levels["radius_levels/recall"] < 0.5
    again = chance_levels(found, workspace.parameters, workspace.clean, workspace.scored)["hierarcaps"]
    assert levels == again


def test_an_unknown_benchmark_has_no_level_but_for_correlations(workspace):
    found = collect(workspace.runs, workspace.evaluations, ["clip"], [0], ["retrieval"])
    renamed = {("clip", 0, "new"): {"r1": 0.5, "spearman": 0.1}}
    arrays = workspace.evaluations / "clip" / "seed0"
    (arrays / "new.npz").write_bytes((arrays / "retrieval.npz").read_bytes())
    found = type(found)(
        found.methods, found.seeds, ("new",), found.runs, found.evaluations, renamed, found.protocols, ()
    )
    levels = chance_levels(found, workspace.parameters, workspace.clean, workspace.scored)
    assert levels == {"new": {"spearman": 0.0}}
