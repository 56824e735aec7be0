import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from presets import ROOT, preset

from itm.errors import ConfigError, DataError
from itm.grading.calibrator import write_no_grade


def call(world, tmp_path, monkeypatch, benchmark="retrieval"):
    from itm.config.render import render
    from itm.stages.evaluate import evaluate

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(render(preset("scenes"), "scenes"))
    write_no_grade(tmp_path / "grade.json", "made up")
    folders = world.clean, world.scored, world.embeddings
    evaluate(benchmark, "clip", 0, *folders, tmp_path / "grade.json", tmp_path / "m", tmp_path / "q")


@pytest.mark.parametrize("benchmark", ["retrieval", "cxc", "hierarcaps", "false_negatives", "grading"])
def test_writes_metrics_and_per_query_values(world, tmp_path, monkeypatch, benchmark):
    call(world, tmp_path, monkeypatch, benchmark)
    metrics = json.loads((tmp_path / "m" / f"{benchmark}.json").read_text())
    assert metrics
    with np.load(tmp_path / "q" / f"{benchmark}.npz", allow_pickle=False) as stored:
        protocol = json.loads(str(stored["protocol"]))
    assert {protocol[key] for key in ("benchmark", "method", "split")} == {benchmark, "clip", "test"}
    assert protocol["seed"] == 0


def test_refuses_what_the_data_set_lacks(world, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="data set 'scenes' has no benchmark 'judgement'"):
        call(world, tmp_path, monkeypatch, "judgement")


def test_refuses_embeddings_of_another_split(world, tmp_path, monkeypatch):
    path = world.embeddings / "embeddings.npz"
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["protocol"] = np.array(json.dumps({"split": "dev"}))
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"split 'dev', but encode\.split is 'test'"):
        call(world, tmp_path, monkeypatch)


def test_never_imports_torch_pandas_or_scipy_stats():
    code = (
        "import sys, pyarrow.parquet, itm.stages.evaluate, itm.evaluation.result;"
        "from itm.evaluation.benchmarks import cxc, false_negatives, grading, hierarcaps, judgements, retrieval;"
        "print([name for name in ('torch', 'pandas', 'scipy.stats', 'sklearn') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
