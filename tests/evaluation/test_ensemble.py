"""Ensembles: the mean of similarities, aligned by id, and evaluated like a run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from presets import preset

from itm.errors import ConfigError, DataError
from itm.evaluation.compare import compare
from itm.evaluation.ensemble import ensemble, evaluate_runs
from itm.evaluation.result import write_together
from itm.vectors.pipeline import Embeddings

IMAGES, TEXTS = np.array(["a", "b", "c"]), np.array([10, 11, 12, 13])


def run(seed: int, width: int, pairwise: bool = False) -> Embeddings:
    """A run whose rows come in an order of its own."""
    rng = np.random.default_rng(seed)
    images, texts = rng.permutation(IMAGES), rng.permutation(TEXTS)
    vectors = [rng.standard_normal((len(ids), width)).astype(np.float32) + 1 for ids in (images, texts)]
    found = Embeddings(images, vectors[0], texts, vectors[1], {"split": "test", "method": f"m{seed}", "seed": seed})
    if not pairwise:
        return found
    scores = rng.standard_normal((3, 4)).astype(np.float32)
    return replace(found, scores=scores, scored_images=rng.permutation(IMAGES), scored_texts=rng.permutation(TEXTS))


def similarities(given: Embeddings) -> np.ndarray:
    return given.scorer(IMAGES, TEXTS).block(slice(0, 3), slice(0, 4))


@pytest.mark.parametrize("pairwise", [(False, False), (True, False), (False, True), (True, True, False)])
@pytest.mark.parametrize("standardise", [False, True])
def test_the_mean_of_the_similarities(pairwise: tuple[bool, ...], standardise: bool) -> None:
    runs = [run(seed, 4 + seed, each) for seed, each in enumerate(pairwise)]
    found = ensemble(runs, [f"m{seed}" for seed in range(len(runs))], standardise=standardise)
    every = [similarities(each) for each in runs]
    expected = np.mean([s / s.std() if standardise else s for s in every], axis=0)
    np.testing.assert_allclose(similarities(found), expected, rtol=1e-5, atol=1e-6)
    assert (found.scores is not None) == any(pairwise)
    assert found.protocol["similarity"] == ("pairwise" if any(pairwise) else "dot")


def test_a_run_with_itself_is_that_run() -> None:
    one = run(0, 5)
    np.testing.assert_allclose(similarities(ensemble([one, one], ["x", "y"])), similarities(one), rtol=1e-5)


def constant() -> Embeddings:
    return replace(run(1, 3), image=np.ones((3, 3), np.float32), text=np.ones((4, 3), np.float32))


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([run(0, 4)], "needs two runs or more, and 1 is named"),
        ([run(0, 4), replace(run(1, 4), protocol={"split": "dev"})], "x is of the split 'test' and y of 'dev'"),
        (
            [run(0, 4), replace(run(1, 4), image_ids=np.array(["a", "b", "z"]))],
            r"x and y are not of the same images: 2 are in one only \(c, z\)",
        ),
        (
            [run(0, 4), replace(run(1, 4), text_ids=np.array([10, 11, 12, 14]))],
            r"x and y are not of the same texts: 2 are in one only \(13, 14\)",
        ),
        ([run(0, 4), constant()], "y: all similarities are the same; leave the run out"),
    ],
)
def test_runs_that_do_not_fit(runs: list[Embeddings], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ensemble(runs, ["x", "y"][: len(runs)], standardise=True)


def test_an_ensemble_is_evaluated_like_a_run(world, tmp_path) -> None:
    """A run with itself has that run's metrics; per-query values can be compared."""
    parameters = preset("scenes", changes={"evaluate.bootstrap_samples": 10})
    tables, folders = (world.clean, world.scored), [world.embeddings, world.embeddings]
    kept = tmp_path / "evaluations" / "twice" / "seed0"
    found, results = evaluate_runs(folders, parameters, (), tables, evaluations=kept)
    write_together(results, found, tmp_path / "m.json")
    assert list(found) == parameters.benchmarks
    assert json.loads((tmp_path / "m.json").read_text()) == found
    alone = rsum_of_one(world, parameters)
    assert found["retrieval"]["rsum"] == pytest.approx(alone, abs=1e-4)
    rows = compare(kept.parent, kept.parent, ("retrieval/*/r1",), samples=10)
    assert {row.metric for row in rows} == {"retrieval/i2t/r1", "retrieval/t2i/r1"}
    with np.load(kept / "retrieval.npz") as stored:
        assert json.loads(str(stored["protocol"]))["runs"] == ["clip seed 0", "clip seed 0"]
    with pytest.raises(ConfigError, match="has no benchmark 'judgement'"):
        evaluate_runs(folders, parameters, ["judgement"], tables)


def rsum_of_one(world, parameters) -> float:
    from itm.evaluation.benchmarks import retrieval
    from itm.evaluation.tables import Tables
    from itm.vectors.pipeline import read_embeddings

    tables = Tables(world.clean, world.scored, "test")
    return retrieval.evaluate(tables, read_embeddings(world.embeddings), parameters.evaluate).metrics["rsum"]
