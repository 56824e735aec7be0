"""`itm verify` on a small real run: equal when nothing was touched, and every kind of tampering is named."""

import json

import numpy as np
import pytest
from pipeline_project import Project

from itm.pipeline.dag import read_pipeline
from itm.runs.verify import DIFFERENT, EQUAL, MISSING, find_target, verify

pytestmark = pytest.mark.slow

METRICS = "results/runs/ditm/seed0/retrieval.json"
RECORD = "provenance/runs/ditm/seed0/retrieval.json"
PER_QUERY = "evaluations/ditm/seed0/retrieval.npz"


@pytest.fixture
def project(real, tmp_path):
    return real.copy(tmp_path / "project")


def test_a_run_that_nobody_touched_is_equal_in_all(project) -> None:
    done = project.itm("verify", "ditm/seed0", "--json")
    found = json.loads(done.stdout)
    assert found["equal"]
    assert {item["verdict"] for item in found["items"]} == {EQUAL}
    assert {item["name"] for item in found["items"]} >= {
        *("parameters", "code", "inputs", "metrics file", "versions", "figures", "per-query values"),
        *("train@ditm-0", "clean", "evaluate@ditm-0-retrieval"),
    }
    assert found["commit"].endswith("test")
    # what a process of its own has imported
    Project(project.root).run("/bin/sh", "-c", read_pipeline(project.root).job("evaluate@ditm-0-retrieval").command)
    record = json.loads(project.read(RECORD))
    assert {"numpy", "python"} <= set(record["versions"])
    assert "torch" not in record["versions"], "evaluating needs no torch"
    assert "torch" in json.loads(project.read(RECORD.replace("retrieval", "train")))["versions"]
    # git's results are bit for bit what DVC made, and every metrics file has its record
    for name in ("quality", "score", "metrics", "descriptions/ditm", "runs/ditm/seed0/train"):
        assert json.loads(project.read(f"provenance/{name}.json"))["versions"]["python"]


def edit_metrics(project) -> None:
    values = json.loads(project.read(METRICS))
    values["rsum"] += 1
    (project.root / METRICS).write_text(json.dumps(values))


def edit_parameters(project) -> None:
    project.edit("params.yaml", "bootstrap_samples: 100", "bootstrap_samples: 99")


def edit_code(project) -> None:
    project.append("src/itm/evaluation/benchmarks/retrieval.py", "# a comment\n")


def edit_record(project) -> None:
    values = json.loads(project.read(RECORD))
    (project.root / RECORD).unlink()  # it may be a link into the cache
    values["versions"]["numpy"] = "0.1"
    (project.root / RECORD).write_text(json.dumps(values))


def spoil_record(project) -> None:
    (project.root / RECORD).unlink()
    (project.root / RECORD).write_text('{"job": 1}')


def remove_record(project) -> None:
    (project.root / RECORD).unlink()


def remove_per_query(project) -> None:
    (project.root / PER_QUERY).unlink()


def edit_per_query(project) -> None:
    path = project.root / PER_QUERY
    with np.load(path) as stored:
        arrays = dict(stored)
    name = next(name for name, values in arrays.items() if values.dtype.kind == "f")
    arrays[name] = arrays[name] + 1
    path.unlink()
    np.savez(path, **arrays)


def remove_embeddings(project) -> None:
    (project.root / "embeddings/ditm/seed0/embeddings.npz").unlink()


@pytest.mark.parametrize(
    ("tamper", "verdict", "names", "note"),
    [
        (edit_metrics, DIFFERENT, {"metrics file", "evaluate@ditm-0-retrieval", "figures"}, "rsum"),
        (edit_parameters, DIFFERENT, {"parameters", "evaluate@ditm-0-retrieval"}, "evaluate modified"),
        (edit_code, DIFFERENT, {"code", "evaluate@ditm-0-retrieval"}, "evaluation/benchmarks modified"),
        (edit_record, DIFFERENT, {"versions", "evaluate@ditm-0-retrieval"}, "numpy 0.1, now"),
        (spoil_record, DIFFERENT, {RECORD, "evaluate@ditm-0-retrieval"}, "not a provenance file"),
        (remove_record, MISSING, {RECORD, "evaluate@ditm-0-retrieval"}, "or `dvc repro evaluate@ditm-0-retrieval`"),
        (edit_per_query, DIFFERENT, {"evaluate@ditm-0-retrieval", "per-query values"}, "output"),
        (remove_per_query, MISSING, {"evaluate@ditm-0-retrieval", "per-query values"}, "`dvc checkout` or `dvc pull`"),
        (
            remove_embeddings,
            MISSING,
            {"inputs", "encode@ditm-0", "evaluate@ditm-0-retrieval", "evaluate"},
            "embeddings.npz",
        ),
    ],
)
def test_tampering_is_named(project, tamper, verdict: str, names: set[str], note: str) -> None:
    tamper(project)
    target = find_target(project.root, "ditm/seed0/retrieval")
    found = [item for item in verify(project.root, target) if item.verdict != EQUAL]
    assert {item.name for item in found} == names
    assert {item.verdict for item in found} == {verdict}
    assert any(note in item.note for item in found)


def test_the_command_says_so_and_exits_with_1(project) -> None:
    edit_metrics(project)
    done = project.itm("verify", METRICS, ok=False)
    assert done.returncode == 1
    assert "different  figures: 1: rsum" in done.stdout
    assert "commit of the results: not committed as it is" in done.stdout
    done = project.itm("verify", "ditm/seed9", ok=False)
    assert done.returncode == 1
    assert "itm: no run 'ditm/seed9'" in done.stderr
