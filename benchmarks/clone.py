"""A clone of a repository in which benchmarks run the pipeline, apart from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import smoke
from results_page import ROOT


class Clone:
    """A clone of a repository, whose own code runs there."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.root = folder
        subprocess.run(["git", "clone", "--quiet", source, folder], check=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # as tests/pipeline_project.py: without byte code each command would compile its modules anew
        given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment = {**given, "PATH": path, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}

    def run(self, *command: str, **environment: str) -> str:
        """What a command that must succeed prints."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment | environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} in {self.root}:\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def preset(self, *arguments: str) -> None:
        """State the parameters."""
        self.run(sys.executable, "-m", "itm.cli", "preset", *arguments)

    def timed(self, *command: str, **environment: str) -> float:
        """Seconds that a command takes which must succeed."""
        start = time.monotonic()
        self.run(*command, **environment)
        return time.monotonic() - start

    def commit(self) -> None:
        """Commit all that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "results")

    def stages(self) -> int:
        """How many stages the pipeline has with its present parameters."""
        return len([line for line in self.run("dvc", "stage", "list", "--name-only").splitlines() if line.strip()])


def source(small: bool) -> Path:
    """The repository to clone: this one; for --smoke one like it, with stand-ins for the work of the stages."""
    if not small:
        return ROOT
    sys.path.insert(0, str(ROOT / "tests"))
    from pipeline_project import stand_in, unstubbed_project

    plain = unstubbed_project(smoke.scratch() / "plain")
    return Path(stand_in(plain, smoke.scratch() / "stand-in", methods=("clip",)).root)
