"""Names of files and of parameters in Snakemake's rules: none is run by a shell."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import warm

ROOT = Path(__file__).parents[2]
RULES = [*sorted((ROOT / "workflow").rglob("*.smk")), ROOT / "workflow/Snakefile"]
EVIL = ["b$(touch pwned)", "b; touch pwned", "it's", "two words"]


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_every_placeholder_of_a_command_is_quoted(file: Path) -> None:
    """But for the fingerprint, which is a hash."""
    commands = re.findall(r"^ {4}shell:\n((?: {8}.*\n)+)", file.read_text(), re.M)
    placeholders = [each for command in commands for each in re.findall(r"\{([^{}]+)\}", command)]
    assert [each for each in placeholders if not each.endswith(":q") and each != "params.fingerprint"] == []


@pytest.mark.slow
def test_names_of_shards_are_not_run(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, name in enumerate(EVIL):
        texts = [f"a dog runs {number}", f"two cats sleep {number}"]
        pd.DataFrame({"text": texts}).to_parquet(shards / f"{name}.parquet")
    command = ["snakemake", "-s", str(ROOT / "workflow/bulk-score.smk"), "--cores", "1", "--directory", str(tmp_path)]
    given = ["--config", f"shards={shards}", f"out={tmp_path / 'scored'}", f"params={ROOT / 'params.yaml'}"]
    (tmp_path / "src").symlink_to(ROOT / "src")
    path = f"{warm.commands()}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, *given], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(tmp_path / "scored/captions.parquet")) == 2 * len(EVIL)
    assert not list(tmp_path.rglob("pwned"))
