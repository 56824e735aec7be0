"""A finished run of the pipeline on a few scenes, for the --smoke of benchmarks that look at one.

The stages are those of dvc.yaml, one after the other in one process: neither runner is needed, and nothing is imported
twice.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from smoke import scratch

ROOT = Path(__file__).parents[1]
PLACE = "ITM_SMALL_RUN"
"""Environment variable: the folder in which the first process that wants a run makes it, and others find it."""
PRESET = "scenes-smoke"
SIZES = (
    "device=cpu",
    "methods=[clip,ditm]",
    "seeds=[0,1]",
    "datasets.scenes.train_images=48",
    "datasets.scenes.dev_images=16",
    "datasets.scenes.test_images=16",
    "train.batch_images=16",
    "evaluate.bootstrap_samples=10",
)


@cache
def parameters_file() -> Path:
    """A params.yaml of a few scenes, with every entry of `method`: benchmarks ask for some that are not in use."""
    from itm.config.presets import compose
    from itm.config.render import render

    file = scratch() / "params.yaml"
    file.write_text(render(compose(PRESET, SIZES, root=ROOT), PRESET), encoding="utf-8")
    return file


@cache
def finished() -> Path:
    """A folder in which the pipeline has run: results, report, and what `itm transfer` and oracle.py say of it."""
    from filelock import FileLock

    folder = Path(os.environ.get(PLACE) or scratch() / "run").resolve()
    done = folder.with_name(f"{folder.name}.done")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not done.exists():
            _make(folder)
            done.touch()
    return folder


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data/regions").mkdir(parents=True)
    shutil.copy(parameters_file(), folder / "params.yaml")
    for name in ("dvc.yaml", ".gitignore", "data/catalogue.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "conf", folder / "conf")
    # as dvc.yaml starts stages: one thread, and sets in the same order each time
    single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    done = subprocess.run(
        [sys.executable, "-c", "from small_run import run_stages; run_stages()"],
        cwd=folder,
        env={**os.environ, **single, "PYTHONHASHSEED": "0", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the small run in {folder} failed:\n{done.stdout}")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "a small run"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words], cwd=folder, check=True)


def run_stages() -> None:
    """Every job of this folder's dvc.yaml, and then what looks at its results for benchmarks/evidence.py."""
    from itm.pipeline.stages import Stages

    stages = Stages(Path())
    for stage in stages.names:
        for job in stages.jobs(stage):
            _run(f"itm.stages.{stage}", *job.arguments)
    _run("oracle", "clip", "--epochs", "1", "--out", "oracle.json")
    models = [str(path) for path in sorted(Path("models").glob("*/seed?"))]
    _run("itm.cli", "transfer", *models, "--data", "data", "--benchmark", "retrieval", "--out", "transfer.json")


def _run(module: str, *arguments: str) -> None:
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
