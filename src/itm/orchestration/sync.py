"""Tell Snakemake what DVC did: after `dvc repro`, `dvc pull` or `dvc checkout`.

Snakemake goes by file times and by what it remembers of its own runs; DVC goes by content. `sync` gives every
output a fresh time, in the order of the pipeline, and renews Snakemake's memory. Done while a stage is out of
date, that would hide the fact from Snakemake for good; hence the guard.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from itm.errors import PipelineError, first_few


def sync(root: str | Path = ".") -> int:
    """Make Snakemake see that everything is up to date; returns the number of stages that DVC vouches for.

    Raises:
        PipelineError: `dvc status` is not clean (nothing is touched then), DVC's or Snakemake's lock is held,
            or Snakemake fails.
    """
    root = Path(root)
    stages, changed = _status(root)
    if changed:
        raise PipelineError(
            f"{len(changed)} of {stages} stages are not up to date ({first_few(changed)}); "
            "run `dvc repro` first, see `dvc status` for the reasons",
            reason="not-up-to-date",
        )
    command = [sys.executable, "-m", "snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"snakemake --touch failed:\n{_tail(done.stderr or done.stdout)}", reason="snakemake")
    return stages


def _status(root: Path) -> tuple[int, list[str]]:
    """How many stages there are, and the names of those that DVC would run or complain about."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            names = [stage.addressing for stage in repo.index.stages]
            return len(names), list(repo.status())
    except LockError as error:
        raise PipelineError("another DVC command is at work here; wait for it to end", reason="locked") from error
    except DvcException as error:
        raise PipelineError(f"dvc status: {error}", reason="dvc") from error


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])
