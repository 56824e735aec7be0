"""`itm verify` on a small real run: equal when nothing was touched, and every kind of tampering is named."""

import json
import sys

import numpy as np
import pytest

from itm.runs.verify import DIFFERENT, EQUAL, MISSING, find_target, verify

pytestmark = pytest.mark.slow

SMALL = ["scenes-smoke", "methods=[clip]", "benchmarks=[retrieval]", "train.epochs=1", "device=cpu"]
SIZES = ["datasets.scenes.train_images=64", "datasets.scenes.dev_images=16", "datasets.scenes.test_images=16"]
METRICS = "results/runs/clip/seed0/retrieval.json"
RECORD = "provenance/runs/clip/seed0/retrieval.json"
PER_QUERY = "evaluations/clip/seed0/retrieval.npz"


@pytest.fixture(scope="module")
def verified(unstubbed, tmp_path_factory):
    """A project with one run, committed."""
    project = unstubbed.copy(tmp_path_factory.mktemp("orchestration") / "verified")
    project.run(sys.executable, "-m", "itm.cli", "preset", *SMALL, *SIZES)
    project.repro()
    project.commit()
    return project


@pytest.fixture
def project(verified, tmp_path):
    return verified.copy(tmp_path / "project")


def test_a_run_that_nobody_touched_is_equal_in_all(project) -> None:
    done = project.run(sys.executable, "-m", "itm.cli", "verify", "clip/seed0", "--json")
    found = json.loads(done.stdout)
    assert found["equal"]
    assert {item["verdict"] for item in found["items"]} == {EQUAL}
    assert {item["name"] for item in found["items"]} >= {
        *("parameters", "code", "inputs", "metrics file", "versions", "figures", "per-query values"),
        *("train@clip-0", "clean", "evaluate@clip-0-retrieval"),
    }
    assert found["commit"].endswith("test")
    record = json.loads(project.read(RECORD))
    assert {"numpy", "python"} <= set(record["versions"])
    assert "torch" not in record["versions"], "evaluating needs no torch"
    assert "torch" in json.loads(project.read(RECORD.replace("retrieval", "train")))["versions"]
    # git's results are bit for bit what DVC made, and every metrics file has its record
    for name in ("quality", "score", "metrics", "descriptions/clip", "runs/clip/seed0/train"):
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
    (project.root / "embeddings/clip/seed0/embeddings.npz").unlink()


@pytest.mark.parametrize(
    ("tamper", "verdict", "names", "note"),
    [
        (edit_metrics, DIFFERENT, {"metrics file", "evaluate@clip-0-retrieval", "figures"}, "rsum"),
        (edit_parameters, DIFFERENT, {"parameters", "evaluate@clip-0-retrieval"}, "evaluate modified"),
        (edit_code, DIFFERENT, {"code", "evaluate@clip-0-retrieval"}, "evaluation/benchmarks modified"),
        (edit_record, DIFFERENT, {"versions", "evaluate@clip-0-retrieval"}, "numpy 0.1, now"),
        (spoil_record, DIFFERENT, {RECORD, "evaluate@clip-0-retrieval"}, "not a provenance file"),
        (remove_record, MISSING, {RECORD, "evaluate@clip-0-retrieval"}, "or `dvc repro evaluate@clip-0-retrieval`"),
        (edit_per_query, DIFFERENT, {"evaluate@clip-0-retrieval", "per-query values"}, "output"),
        (remove_per_query, MISSING, {"evaluate@clip-0-retrieval", "per-query values"}, "`dvc checkout` or `dvc pull`"),
        (
            remove_embeddings,
            MISSING,
            {"inputs", "encode@clip-0", "evaluate@clip-0-retrieval", "evaluate"},
            "embeddings.npz",
        ),
    ],
)
def test_tampering_is_named(project, tamper, verdict: str, names: set[str], note: str) -> None:
    tamper(project)
    target = find_target(project.root, "clip/seed0/retrieval")
    found = [item for item in verify(project.root, target) if item.verdict != EQUAL]
    assert {item.name for item in found} == names
    assert {item.verdict for item in found} == {verdict}
    assert any(note in item.note for item in found)


def test_the_command_says_so_and_exits_with_1(project) -> None:
    edit_metrics(project)
    done = project.run(sys.executable, "-m", "itm.cli", "verify", METRICS, ok=False)
    assert done.returncode == 1
    assert "different  figures: 1: rsum" in done.stdout
    assert "commit of the results: not committed as it is" in done.stdout
    done = project.run(sys.executable, "-m", "itm.cli", "verify", "clip/seed9", ok=False)
    assert done.returncode == 1
    assert "itm: no run 'clip/seed9'" in done.stderr
