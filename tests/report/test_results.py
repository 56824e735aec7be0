"""Collecting runs: exactly those that params.yaml asks for, and clear words when one is missing."""

import shutil

import numpy as np
import pytest

from itm.errors import DataError
from itm.report.results import collect, read_history

BENCHMARKS = ["retrieval", "cxc", "hierarcaps", "false_negatives"]


def gather(space, methods=("clip", "ditm"), seeds=(0, 1)):
    return collect(space.runs, space.evaluations, list(methods), list(seeds), BENCHMARKS)


def test_only_the_runs_asked_for_and_the_rest_is_listed(workspace):
    shutil.copytree(workspace.runs / "clip", workspace.runs / "old-clip")
    (workspace.runs / "clip" / "seed0" / "train.json").write_text('{"epoch": 3}')
    found = gather(workspace, seeds=(1,))
    assert set(found.metrics) == {(m, 1, b) for m in ("clip", "ditm") for b in BENCHMARKS}
    assert "clip/seed0/judgements.json" in found.ignored
    assert "old-clip/seed0/retrieval.json" in found.ignored
    assert "ditm/seed0/cxc.json" in found.ignored
    assert not any("train.json" in name for name in found.ignored)


def test_missing_runs_are_counted_and_three_are_named(workspace):
    for name in ("retrieval", "cxc"):
        (workspace.runs / "ditm" / "seed1" / f"{name}.json").unlink()
        (workspace.evaluations / "ditm" / "seed1" / f"{name}.npz").unlink()
    with pytest.raises(DataError) as caught:
        gather(workspace)
    message = str(caught.value)
    assert caught.value.reason == "missing-results"
    assert "4 of 32 results are missing" in message
    assert "and 1 more" in message
    assert message.count("seed1") == 3
    assert "`dvc repro`" in message


def test_a_damaged_evaluation_is_named(workspace):
    path = workspace.evaluations / "clip" / "seed0" / "cxc.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"clip/seed0/cxc\.npz: cannot be read"):
        gather(workspace)


def test_an_evaluation_without_a_protocol_is_named(workspace):
    np.savez(workspace.evaluations / "clip" / "seed0" / "cxc.npz", a=np.zeros(1))
    with pytest.raises(DataError, match=r"cxc\.npz: has no `protocol`"):
        gather(workspace)


def test_the_protocol_is_what_all_runs_share(workspace):
    protocol = gather(workspace).protocol("retrieval")
    assert protocol["images"] == 36
    assert protocol["captions"] == 144
    assert "method" not in protocol
    assert "seed" not in protocol


def test_history_with_empty_cells(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,order\n1,\n2,0.5\n")
    found = read_history(path)
    assert found["epoch"] == [1, 2]
    assert np.isnan(found["order"][0])
    assert found["order"][1] == 0.5
    assert read_history(tmp_path / "none.csv") == {}
