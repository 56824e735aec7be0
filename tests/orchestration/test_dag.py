"""The facts that the rules take from dvc.yaml."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm.errors import PipelineError
from itm.pipeline.dag import read_pipeline

PIPELINE = """
vars: [{run: python -m stage}]
stages:
  load:
    matrix: {file: "${files}"}
    cmd: ${run} ${item.file}
    outs: ["raw/${item.file}"]
  fit:
    matrix: {method: "${methods}", seed: [0, 1]}
    cmd: ${run} ${item.method} ${item.seed}
    deps: [code, raw, code.py]
    params: [fit, "method.${item.method}", {other.yaml: [a.b]}]
    outs: ["models/${item.method}/${item.seed}.bin"]
    metrics:
      - runs/${item.method}/${item.seed}.json: {cache: false}
  report:
    cmd: ${run} report
    deps: [runs]
    outs: [report.md]
"""
PARAMETERS = """
files: [a.csv, b.csv]
methods: [x, y-z]
fit: {rate: 0.1, deep: {er: [1, 2]}, name: ""}
method: {x: {k: true}, y-z: {k: false, l: null}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text(PARAMETERS)
    (tmp_path / "other.yaml").write_text("a: {b: {c: 1}}\n")
    (tmp_path / "code/inner").mkdir(parents=True)
    for name in ("code/b.py", "code/inner/a.py", "code/ignored.pyc", "code.py"):
        (tmp_path / name).touch()
    (tmp_path / ".dvcignore").write_text("*.pyc\n")
    return tmp_path


def test_a_rule_has_wildcards_for_the_axes_of_the_matrix(root: Path) -> None:
    pipeline = read_pipeline(root)
    assert pipeline.outputs("load") == ["raw/{file}"]
    assert pipeline.outputs("fit") == ["models/{method}/{seed}.bin", "runs/{method}/{seed}.json"]
    assert pipeline.constraints() == {"file": r"a\.csv|b\.csv", "method": r"x|y\-z", "seed": "0|1"}


def test_a_directory_stands_for_the_outputs_below_it_or_for_its_files(root: Path) -> None:
    pipeline = read_pipeline(root)
    assert pipeline.inputs("fit") == ["code/b.py", "code/inner/a.py", "raw/a.csv", "raw/b.csv", "code.py"]
    assert pipeline.inputs("report") == ["runs/x/0.json", "runs/x/1.json", "runs/y-z/0.json", "runs/y-z/1.json"]


def test_the_facts_of_a_job_are_those_of_dvc(root: Path) -> None:
    facts = read_pipeline(root).facts("fit")
    values = {key: fact(SimpleNamespace(method="y-z", seed=1)) for key, fact in facts.items()}
    assert values.pop("name") == "fit@y-z-1"
    assert values.pop("command") == "python -m stage y-z 1"
    assert len(values.pop("fingerprint")) == 12
    assert len(values.pop("code")) == 12
    assert list(values.values()) == [
        "fit.deep.er = [1, 2]",
        'fit.name = ""',
        "fit.rate = 0.1",
        "method.y-z.k = false",
        "method.y-z.l = null",
        "other.yaml: a.b.c = 1",
    ]
    assert facts["parameter_6"](SimpleNamespace(method="x", seed=1)) == ""  # x has one parameter less


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("params.yaml", "rate: 0.1", "rate: 0.2", {"fit"}),
        ("params.yaml", "rate: 0.1", "rate: 0.10", set()),
        ("params.yaml", "k: true", "k: false", {"fit"}),
        ("other.yaml", "c: 1", "c: 2", {"fit"}),
        ("dvc.yaml", "${run} report", "${run} report --fast", {"report"}),
    ],
)
def test_the_fingerprint_changes_with_what_the_job_does(
    root: Path, file: str, old: str, new: str, changed: set
) -> None:
    before = read_pipeline(root).jobs
    (root / file).write_text((root / file).read_text().replace(old, new))
    after = read_pipeline(root).jobs
    assert {job.stage for name, job in after.items() if job.fingerprint != before[name].fingerprint} == changed


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("code/b.py", {"fit"}),
        ("code.py", {"fit"}),
        ("code/ignored.pyc", set()),
        ("raw/a.csv", set()),
        ("runs/x", set()),
    ],
)
def test_a_job_knows_its_code_by_content_whatever_the_time_of_the_file(root: Path, file: str, changed: set) -> None:
    before = read_pipeline(root).jobs
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("# another content\n")
    os.utime(root / file, (1, 1))
    after = read_pipeline(root).jobs
    assert {job.stage for name, job in after.items() if job.code != before[name].code} == changed


def test_the_targets_are_what_no_other_job_needs(root: Path) -> None:
    assert read_pipeline(root).targets() == ["report.md"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "params.yaml",
            PARAMETERS.replace("fit:", "fat:"),
            "stage fit@x-0 names the parameter fit, which params.yaml lacks",
        ),
        ("other.yaml", "a: 1\n", "names the parameter a.b, which other.yaml lacks"),
        ("params.yaml", PARAMETERS.replace("methods:", "methuds:"), "methods"),
        ("dvc.yaml", "stages:\n  a: {cmd: x, ouds: [y]}\n", "ouds"),
        ("dvc.yaml", "stages: [\n", "dvc.yaml"),
    ],
)
def test_a_fault_is_one_message(root: Path, file: str, text: str, message: str) -> None:
    (root / file).write_text(text)
    with pytest.raises(PipelineError, match=message):
        read_pipeline(root)


def test_unknown_names_come_with_the_nearest_known_one(root: Path) -> None:
    pipeline = read_pipeline(root)
    with pytest.raises(PipelineError, match=r"no stage 'fut'; did you mean 'fit'\?"):
        pipeline.inputs("fut")
    with pytest.raises(PipelineError, match=r"no job 'fit@x-2'; did you mean 'fit@x-1'\?"):
        pipeline.job("fit@x-2")


def test_without_a_project_there_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="DVC"):
        read_pipeline(tmp_path)
