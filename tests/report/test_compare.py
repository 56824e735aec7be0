"""Per-query values rebuild the metrics, and marks follow the sign of a clear difference only."""

import pytest

from itm.report.columns import columns
from itm.report.compare import _by_seed, _seeds, compare
from itm.report.results import collect


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """Enough for a difference as clear as that of `finished`."""
    monkeypatch.setattr("itm.report.compare.SAMPLES", 500)


@pytest.fixture
def results(finished):
    benchmarks = ["retrieval", "cxc", "hierarcaps", "false_negatives"]
    return collect(finished.runs, finished.evaluations, ["clip", "ditm"], [0, 1], benchmarks)


def test_tested_values_have_the_metric_as_their_mean(results):
    runs = _by_seed(results, "clip")
    rebuilt = set()
    for benchmark in results.benchmarks:
        for column in columns(benchmark, results.keys(benchmark)):
            found = _seeds(runs, benchmark, column.key)
            if found is not None:
                stored = results.values("clip", benchmark, column.key)
                assert found.values.mean(axis=1) == pytest.approx(stored, abs=1e-4), (benchmark, column.key)
                assert found.values.shape == (2, len(found.groups))
                rebuilt.add((benchmark, column.key))
    assert {("retrieval", "t2i/r1"), ("hierarcaps", "tau_d"), ("false_negatives", "t2i/map_at_r")} <= rebuilt
    assert {("cxc", "i2t/r1"), ("hierarcaps", "radius_levels/recall"), ("retrieval", "i2t/r10")} <= rebuilt
    assert ("cxc", "sts/spearman") not in rebuilt


@pytest.mark.slow
def test_the_better_model_is_marked_and_the_baseline_never(results):
    verdicts = compare(results, "clip")
    assert not any(method == "clip" for method, _, _ in verdicts)
    assert verdicts["ditm", "retrieval", "i2t/r10"].mark == "▲"
    assert verdicts["ditm", "retrieval", "i2t/r10"].text.startswith("+")
    reverse = compare(results, "ditm")
    assert reverse["clip", "retrieval", "i2t/r10"].mark == "▼"
    assert reverse["clip", "retrieval", "i2t/r10"].text.startswith("−")


def test_a_model_is_not_told_apart_from_itself(workspace):
    for name in ("retrieval", "hierarcaps"):
        for folder, suffix in ((workspace.runs, "json"), (workspace.evaluations, "npz")):
            source = folder / "clip" / "seed0" / f"{name}.{suffix}"
            (folder / "ditm" / "seed0" / source.name).write_bytes(source.read_bytes())
    found = collect(workspace.runs, workspace.evaluations, ["clip", "ditm"], [0], ["retrieval", "hierarcaps"])
    verdicts = compare(found, "clip")
    assert verdicts
    assert {verdict.mark for verdict in verdicts.values()} == {""}


def test_one_method_has_nothing_to_compare(finished):
    found = collect(finished.runs, finished.evaluations, ["clip"], [0], ["retrieval"])
    assert compare(found, "clip") == {}
