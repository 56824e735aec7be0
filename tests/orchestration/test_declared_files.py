"""The real stages on a small scenes data set: each gives the same results where it finds only what it declares."""

import shutil
import subprocess
from pathlib import Path

import pytest

from itm.pipeline.dag import Job, Pipeline, read_pipeline

ALWAYS = ["params.yaml", "dvc.yaml", "data/catalogue.yaml", "dvc.lock"]
"""The parameters; the pipeline, of which a provenance tells the own entry; and the report quotes the checksums of
source files from dvc.lock."""

pytestmark = pytest.mark.slow


def alone(job: Job, project, folder: Path) -> list[str]:
    """What is wrong when a job runs in a folder with its declared inputs only."""
    for path in [*job.inputs, *ALWAYS]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.root / path, folder / path)
    # all code: that only the declared part matters is the business of test_code_dependencies.py
    shutil.copytree(project.root / "src", folder / "src", dirs_exist_ok=True)
    done = subprocess.run(job.command, shell=True, cwd=folder, env=project.environment, capture_output=True, text=True)
    if done.returncode:
        return [f"{job.name} fails: {done.stderr[-500:]}"]
    files = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    known = {*job.inputs, *job.outputs, *ALWAYS}
    stray = [path for path in files if path not in known and not path.startswith(("src/", "logs/", ".itm/"))]
    differ = [
        path
        for path in job.outputs
        if not (folder / path).exists() or (folder / path).read_bytes() != (project.root / path).read_bytes()
    ]
    return [f"{job.name} writes {path}, which is not declared" for path in stray] + [
        f"{job.name}: {path} is another one without the files that are not declared" for path in differ
    ]


def test_each_stage_needs_and_writes_what_it_declares(real, tmp_path: Path) -> None:
    pipeline: Pipeline = read_pipeline(real.root)
    faults = [fault for job in pipeline.jobs.values() for fault in alone(job, real, tmp_path / job.name)]
    assert faults == []
