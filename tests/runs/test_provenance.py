"""The record beside a metrics file: complete, the same everywhere, and written for jobs of the pipeline only."""

import hashlib
import json
import platform
import sys

import numpy as np
import pytest

from itm.errors import ConfigError, PipelineError
from itm.pipeline import provenance
from itm.pipeline.provenance import installed, record_of, record_path, versions, write_record
from itm.pipeline.stages import Stages
from itm.runs.verify import Target, find_target

PIPELINE = """\
vars:
  - run: A=1 python -m itm.stages
stages:
  prepare:
    cmd: ${run}.prepare --out data
    outs: [data/table.txt]
  evaluate:
    matrix: {method: "${methods}", seed: "${seeds}", benchmark: [retrieval]}
    cmd: >-
      ${run}.evaluate --method ${item.method} --seed ${item.seed} --benchmark ${item.benchmark}
      --data data/${data.name}
    deps: [src/code.py, src/room, data/table.txt, data/folder]
    params: [data.name, "method.${item.method}", other.yaml: ["${data.name}.licence"]]
    metrics:
      - results/runs/${item.method}/seed${item.seed}/${item.benchmark}.json: {cache: false}
    outs:
      - provenance/runs/${item.method}/seed${item.seed}/${item.benchmark}.json
"""
PARAMETERS = {
    "methods": ["clip", "ditm"],
    "seeds": [0, 3],
    "benchmarks": ["retrieval"],
    "data": {"name": "scenes"},
    "method": {"clip": {"lr": 1}, "ditm": {"lr": 2}},
}
ITEM = {"method": "ditm", "seed": 3, "benchmark": "retrieval"}
WORDS = ["--method", "ditm", "--seed", "3", "--benchmark", "retrieval", "--data", "data/scenes"]
RECORD = "provenance/runs/ditm/seed3/retrieval.json"


@pytest.fixture
def root(tmp_path):
    for name, text in {
        "dvc.yaml": PIPELINE,
        "params.yaml": json.dumps(PARAMETERS),
        "other.yaml": "scenes: {licence: free}",
        "src/code.py": "a = 1",
        "src/room/one.py": "b = 1",
        "data/table.txt": "rows",
        "data/folder/part.txt": "part",
        "results/runs/ditm/seed3/retrieval.json": "{}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def record(root):
    stages = Stages(root)
    return record_of(stages.job("evaluate", ITEM), stages)


def test_a_job_is_what_dvc_yaml_says(root) -> None:
    job = Stages(root).job("evaluate", ITEM)
    assert job.name == "evaluate@ditm-3-retrieval"
    assert list(job.arguments) == WORDS
    assert job.parameters == (
        ("other.yaml", "scenes.licence"),
        ("params.yaml", "data.name"),
        ("params.yaml", "method.ditm"),
    )
    assert record_path(job) == RECORD
    assert [each.name for each in Stages(root).jobs("evaluate")][:2] == [
        "evaluate@clip-0-retrieval",
        "evaluate@clip-3-retrieval",
    ]
    assert [each.name for each in Stages(root).jobs("prepare")] == ["prepare"]


def test_a_record_holds_hashes_of_what_the_job_reads(root) -> None:
    found = record(root)
    values = {"data.name": "scenes", "method.ditm": {"lr": 2}, "other.yaml: scenes.licence": "free"}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    assert found["parameters"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert found["inputs"]["data/table.txt"] == hashlib.md5(b"rows").hexdigest()  # as in dvc.lock
    assert set(found["inputs"]) == {"data/table.txt", "data/folder"}
    assert found["code"]["tracked"] == ["src/code.py", "src/room"]


@pytest.mark.parametrize(
    ("path", "text", "part"),
    [
        ("src/room/one.py", "b = 2", "code"),
        ("src/room/two.py", "", "code"),
        ("data/table.txt", "other", "inputs"),
        ("data/folder/part.txt", "other", "inputs"),
        ("other.yaml", "scenes: {licence: bought}", "parameters"),
        ("params.yaml", json.dumps({**PARAMETERS, "method": {"ditm": {"lr": 3}}}), "parameters"),
    ],
)
def test_a_change_shows_in_its_own_part_only(root, path: str, text: str, part: str) -> None:
    before = record(root)
    (root / path).write_text(text)
    after = record(root)
    assert {key for key in before if before[key] != after[key]} == {part}


def test_what_the_job_does_not_track_changes_nothing(root) -> None:
    before = record(root)
    (root / "params.yaml").write_text(json.dumps({**PARAMETERS, "method": {"clip": {"lr": 9}, "ditm": {"lr": 2}}}))
    (root / "src/room/__pycache__").mkdir()
    (root / "src/room/__pycache__/one.pyc").write_bytes(b"x")
    (root / "data/folder/.snakemake_timestamp").touch()
    (root / "dvc.lock").write_text("not: [yaml")
    assert record(root) == before


def test_a_record_is_written_for_the_pipelines_command_only(root) -> None:
    assert not write_record("evaluate", ITEM, [*WORDS[:-1], "/tmp/elsewhere"], root)
    assert not write_record("other", {}, [], root)
    assert not write_record("prepare", {}, ["--out", "data"], root)  # it has no metrics, so no record
    assert not (root / RECORD).exists()
    assert write_record("evaluate", ITEM, WORDS, root)
    found = json.loads((root / RECORD).read_text())
    assert found["metrics"] == {"results/runs/ditm/seed3/retrieval.json": hashlib.md5(b"{}").hexdigest()}
    assert found["versions"]["python"] == platform.python_version()
    first = (root / RECORD).read_bytes()
    write_record("evaluate", ITEM, WORDS, root)
    assert (root / RECORD).read_bytes() == first


def test_only_the_first_of_several_processes_writes(root, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not write_record("evaluate", ITEM, WORDS, root)


def test_outside_of_a_project_nothing_is_written(tmp_path) -> None:
    assert not write_record("evaluate", ITEM, WORDS, tmp_path)


def test_versions_are_of_what_is_loaded(monkeypatch) -> None:
    assert versions()["numpy"] == np.__version__
    monkeypatch.delitem(sys.modules, "numpy")
    assert "numpy" not in versions()
    assert installed({"python": "", "no-such-package": ""}) == {
        "python": platform.python_version(),
        "no-such-package": "not installed",
    }


def test_large_files_take_the_hash_that_dvc_recorded_if_the_size_agrees(root, monkeypatch) -> None:
    monkeypatch.setattr(provenance, "FROM_LOCK", 4)
    out = {"path": "data/table.txt", "md5": "recorded", "size": 4}
    (root / "dvc.lock").write_text(json.dumps({"stages": {"prepare": {"outs": [out]}}}))
    assert record(root)["inputs"]["data/table.txt"] == "recorded"
    (root / "data/table.txt").write_text("longer")
    assert record(root)["inputs"]["data/table.txt"] == hashlib.md5(b"longer").hexdigest()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dvc.yaml", None, "dvc.yaml: no such file; run in the root of the repository"),
        ("dvc.yaml", "stages: [", "dvc.yaml: not valid YAML"),
        ("dvc.yaml", "- a list", "expected keys with values, found list"),
        ("dvc.yaml", "stages: {other: {cmd: x}}", "dvc.yaml: no stage 'evaluate'; known: other"),
        ("params.yaml", "{data: {name: scenes}}", "names the parameter method.ditm, which params.yaml lacks"),
        ("params.yaml", "{method: {}}", "names the parameter data.name, which params.yaml lacks"),
    ],
)
def test_bad_files(root, file: str, text: str | None, message: str) -> None:
    if text is None:
        (root / file).unlink()
    else:
        (root / file).write_text(text)
    with pytest.raises(PipelineError) as caught:
        record(root)
    assert message in str(caught.value)


def test_a_target_has_several_names(root) -> None:
    run = Target("ditm", 3, ("retrieval",), train=True)
    assert find_target(root, "ditm/seed3") == find_target(root, "results/runs/ditm/seed3/") == run
    one = Target("ditm", 3, ("retrieval",), train=False)
    path = "results/runs/ditm/seed3/retrieval.json"
    assert (
        find_target(root, "ditm/seed3/retrieval")
        == find_target(root, path)
        == find_target(root, str(root / path))
        == one
    )
    assert find_target(root, "ditm/seed3/train") == Target("ditm", 3, (), train=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtm/seed3", "no run 'dtm/seed3' in params.yaml; did you mean 'ditm/seed3'?"),
        ("ditm", "no run 'ditm' in params.yaml"),
        ("ditm/seed7", "no run 'ditm/seed7'"),
        ("ditm/seed3/retreival", "params.yaml has no benchmark 'retreival'; did you mean 'retrieval'?"),
        ("../../ditm/seed3", "no run '../../ditm/seed3'"),
        ("", "no run ''"),
    ],
)
def test_bad_targets(root, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_target(root, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(("path", "part"), [("src/room/one.py", "code"), ("data/folder/part.txt", "inputs")])
def test_a_renamed_file_is_another_folder(root, path: str, part: str) -> None:
    before = record(root)
    (root / path).rename((root / path).with_name("renamed.py"))
    after = record(root)
    assert {key for key in before if before[key] != after[key]} == {part}
