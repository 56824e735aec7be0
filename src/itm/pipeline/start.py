"""The start of a Snakemake run, before its rules are read: parameters, pipeline, profile, environment."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import itm.config
from itm.errors import ConfigError, PipelineError, first_few, nearest
from itm.pipeline.dag import Pipeline, read_pipeline
from itm.pipeline.presence import present
from itm.pipeline.processes import at_work
from itm.pipeline.run import FORCE
from itm.pipeline.sync import settle


def start(
    arguments: Sequence[str], workflow: str | Path, config: Mapping[str, Any]
) -> tuple[itm.config.Parameters, Pipeline]:
    """The validated parameters and the pipeline, for a Snakemake command line in the present folder.

    `workflow` is the folder of the Snakefile, `config` what --config and --configfile set. The folder of the
    running Python is put first on PATH, so that `.venv/bin/snakemake` works without an activated environment;
    jobs learn by an environment variable that they are forced. Files from the future get a time before now. Dry runs
    change nothing, and the calls that Snakemake makes on a cluster (--mode) are part of a run.

    Raises:
        ConfigError: params.yaml is invalid, or parameters come from --config, which DVC would not see.
        PipelineError: dvc.yaml is invalid, --workflow-profile names no profile, or another run is at work here.
    """
    if config:
        raise ConfigError(
            f"--config and --configfile ({first_few(config)}) would be seen by Snakemake only; parameters live in "
            "params.yaml: edit it, or run `itm preset NAME key=value`",
            reason="snakemake-config",
        )
    check_profile(arguments, workflow)
    acts = not is_dry(arguments) and "--mode" not in arguments
    if acts:
        check_alone()
        presence = ExitStack()
        presence.enter_context(present(".", "snakemake"))
        atexit.register(presence.close)
    if is_forced(arguments):
        os.environ[FORCE] = "1"
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    parameters, pipeline = itm.config.load(), read_pipeline()
    if acts:
        settle(pipeline)
    return parameters, pipeline


def check_profile(arguments: Sequence[str], workflow: str | Path) -> None:
    """Check that the --workflow-profile of a Snakemake command line exists; `workflow` holds the Snakefile.

    Snakemake passes over a mistyped one in silence, and would run without its limits: no GPU count, no cluster.

    Raises:
        PipelineError: no such file, and no such folder with a config.yaml in any place where Snakemake looks.
    """
    named = _named(arguments)
    if named is None or named == "none":
        return
    profiles = Path(workflow) / "profiles"
    for place in (Path(named), Path("profiles") / named, profiles / named):
        if place.is_file() or any(place.glob("config*.y*ml")):
            return
    known = [folder.name for folder in profiles.iterdir() if folder.is_dir()]
    raise PipelineError(
        f"--workflow-profile {named}: no such profile in {profiles}; {nearest(Path(named).name, known)}",
        reason="unknown-profile",
    )


def check_alone(root: str | Path = ".") -> None:
    """Check that no other run is at work in the project, before Snakemake removes files that it is writing.

    Raises:
        PipelineError: stages of another runner are at work.
    """
    others = [f"process {pid}: {command}" for pid, command in at_work(root)]
    if others:
        raise PipelineError(
            f"{len(others)} other run(s) at work in this folder ({first_few(others)}); wait for them to end, or end "
            "them, and run again",
            reason="busy",
        )


def is_dry(arguments: Sequence[str]) -> bool:
    """Whether a Snakemake command line asks for the plan alone.

    >>> is_dry(["snakemake", "-np"]), is_dry(["snakemake", "--cores", "2"])
    (True, False)
    """
    return any(
        argument in ("--dry-run", "--dryrun") or re.fullmatch(r"-[a-zA-Z]*n[a-zA-Z]*", argument)
        for argument in arguments
    )


def is_forced(arguments: Sequence[str]) -> bool:
    """Whether a Snakemake command line asks to run jobs that are up to date.

    The calls that Snakemake itself makes on a cluster (--mode) always force their one job, and do not count.

    >>> is_forced(["snakemake", "-nF"]), is_forced(["snakemake", "--forcerun", "clean"]), is_forced(["snakemake", "-n"])
    (True, True, False)
    """
    if "--mode" in arguments:
        return False
    return any(
        argument in ("--force", "--forceall", "--forcerun") or re.fullmatch(r"-[a-zA-Z]*[fFR]", argument)
        for argument in arguments
    )


def _named(arguments: Sequence[str]) -> str | None:
    option = "--workflow-profile"
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.removeprefix(f"{option}=")
        if argument == option and position + 1 < len(arguments):
            return arguments[position + 1]
    return None
