"""Scores of files from the command line, and as jobs of Snakemake over shards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import warm
from generated_captions import captions
from typer.testing import CliRunner

from itm.text.bulk import app

ROOT = Path(__file__).parents[2]


def shards(folder: Path, count: int) -> Path:
    folder.mkdir()
    texts = captions(1_000).combine_chunks()
    size = len(texts) // count
    for number in range(count):
        pq.write_table(pa.table({"text": texts.slice(number * size, size)}), folder / f"part-{number}.parquet")
    return folder


def test_run(tmp_path: Path) -> None:
    files = sorted(str(path) for path in shards(tmp_path / "in", 2).iterdir())
    options = ["--out", str(tmp_path / "out.parquet"), "--workers", "2", "--params", str(ROOT / "params.yaml")]
    shown = CliRunner().invoke(app, ["run", *files, *options])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("1,000 captions, ")
    assert len(pq.read_table(tmp_path / "out.parquet")) == 1_000


@pytest.mark.slow
def test_errors_are_one_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "itm.text.bulk", "count", str(tmp_path / "none.parquet")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"itm bulk score: {tmp_path}/none.parquet: no such file; give a Parquet file\n"


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "-s", str(ROOT / "workflow/bulk-score.smk"), "--cores", "2"]
    environment = {**os.environ, "PATH": os.pathsep.join([warm.commands(), os.environ["PATH"]])}
    command += ["--nolock", "--directory", str(folder), *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_four_jobs_give_the_bytes_of_one(tmp_path: Path) -> None:
    for count in (1, 4):
        place = [f"shards={shards(tmp_path / f'in-{count}', count)}", f"out={tmp_path / f'out-{count}'}"]
        done = snakemake(tmp_path, "--config", *place, f"params={ROOT / 'params.yaml'}")
        assert done.returncode == 0, done.stderr
    one, four = (pq.read_table(tmp_path / f"out-{count}/captions.parquet") for count in (1, 4))
    assert len(one) == 1_000
    assert one.equals(four)
    assert (tmp_path / "out-1/idf.parquet").read_bytes() == (tmp_path / "out-4/idf.parquet").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out-4").iterdir()) == ["captions.parquet", "idf.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [([], "say where with --config shards=FOLDER"), (["shards=here", "out=there"], "no parquet file in here")],
)
def test_what_is_not_said(tmp_path: Path, given: list[str], message: str) -> None:
    done = snakemake(tmp_path, "-n", *(["--config", *given] if given else []))
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
