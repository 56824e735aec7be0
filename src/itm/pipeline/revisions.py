"""Results of a git revision, a DVC experiment or the workspace, read without checking anything out."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from itm.errors import ConfigError, DataError, PipelineError, first_few, nearest
from itm.pipeline.stages import parse_yaml

WORKSPACE = "workspace"
RUNS = "results/runs"
Triple = tuple[str, int, str]


@dataclass(frozen=True)
class Revision:
    """What one revision found, and from what.

    commit: '' for the workspace. metrics: by method, seed and benchmark, of the methods and seeds that its params.yaml
    names, nested as the files hold them. evaluations: files of per-query values, as far as they are here. sources: md5
    by source file.
    """

    name: str
    commit: str
    parameters: Mapping[str, Any]
    metrics: Mapping[Triple, Mapping[str, Any]]
    evaluations: Mapping[Triple, Path] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name, and the commit behind it."""
        return f"{self.name} ({self.commit[:9]})" if self.commit else self.name

    @property
    def methods(self) -> list[str]:
        """The methods with results, in the order of params.yaml."""
        return list(dict.fromkeys(method for method, _, _ in self.metrics))

    def seeds(self, method: str) -> list[int]:
        """The seeds of a method."""
        return list(dict.fromkeys(seed for name, seed, _ in self.metrics if name == method))


def read_revision(root: Path, name: str) -> Revision:
    """The results of `name`: a git revision (branch, tag, commit), a DVC experiment, or "workspace".

    Raises:
        ConfigError: there is no such revision, or several experiments have this name.
        DataError: it holds no params.yaml or no results.
    """
    commit = "" if name == WORKSPACE else resolve(root, name)
    files = workspace_files(root) if not commit else committed_files(root, commit)
    if "params.yaml" not in files:
        raise DataError(f"{name}: has no params.yaml, so it holds no results of this pipeline", reason="no-parameters")
    parameters = yaml_values(files["params.yaml"])
    lock = yaml_values(files.get("dvc.lock", b""))
    metrics: dict[Triple, Mapping[str, Any]] = {}
    for method in parameters.get("methods") or []:
        for seed in parameters.get("seeds") or []:
            for benchmark in parameters.get("benchmarks") or []:
                stored = files.get(f"{RUNS}/{method}/seed{seed}/{benchmark}.json")
                if stored is not None:
                    metrics[method, seed, benchmark] = json.loads(stored)
    if not metrics:
        asked = first_few([f"{RUNS}/{method}/seed*" for method in parameters.get("methods") or []])
        raise DataError(f"{name}: has no results ({asked}); run `dvc repro` there and commit", reason="missing-results")
    evaluations = _evaluations(root, list(metrics), lock, bool(commit))
    sources = {path: md5 for path, md5 in outputs_of(lock).items() if path.startswith("data/raw/")}
    return Revision(name, commit, parameters, metrics, evaluations, sources)


def resolve(root: Path, name: str) -> str:
    """The commit that a git revision or a DVC experiment stands for.

    An experiment is the git reference refs/exps/<commit it started from>/<name>.
    """
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.decode().strip()
    experiments = experiments_of(root)
    commits = experiments.get(name, [])
    if len(set(commits)) > 1:
        raise ConfigError(
            f"{len(commits)} experiments are called '{name}' ({first_few([each[:9] for each in commits])}); "
            "name a commit",
            reason="ambiguous-revision",
        )
    if commits:
        return commits[0]
    branches = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").stdout.decode().split()
    known = [*experiments, *branches, WORKSPACE]
    raise ConfigError(f"no revision or experiment '{name}'; {nearest(name, known)}", reason="unknown-revision")


def experiments_of(root: Path) -> dict[str, list[str]]:
    """The commits of the finished DVC experiments of a project, by name."""
    listed = git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").stdout.decode().splitlines()
    experiments: dict[str, list[str]] = {}
    for line in listed:
        commit, reference = line.split(" ", 1)
        parts = reference.split("/")
        if len(parts) == 5:  # refs/exps/ab/cdef.../name; others are DVC's own
            experiments.setdefault(parts[4], []).append(commit)
    return experiments


def changed_code(root: Path, first: Revision, second: Revision) -> list[str]:
    """The files below src/ and dvc.yaml that differ between two revisions."""
    commits = [each.commit for each in (first, second) if each.commit]
    if not commits:
        return []
    done = git(root, "diff", "--name-only", *commits, "--", "src", "dvc.yaml")
    return done.stdout.decode().split("\n")[:-1]


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A git command, run in `root`; its status is the caller's to judge.

    Raises:
        ConfigError: git is not installed.
    """
    try:
        return subprocess.run(
            ["git", "-c", "core.quotePath=false", *arguments], cwd=root, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed; revisions are read with it", reason="no-git") from None


def committed_files(root: Path, commit: str) -> dict[str, bytes]:
    """The small files of a commit that results are told from, in one call."""
    listed = git(root, "ls-tree", "--name-only", commit, "--", "params.yaml", "dvc.lock", "results").stdout
    wanted = listed.decode().split("\n")[:-1]
    done = git(root, "archive", "--format=tar", commit, "--", *wanted)
    if not wanted or done.returncode:
        return {}
    files = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                files[member.name] = stream.read()
    return files


def workspace_files(root: Path) -> dict[str, bytes]:
    """The same files of the workspace."""
    paths = [root / "params.yaml", root / "dvc.lock", *sorted((root / RUNS).glob("*/seed*/*.json"))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def yaml_values(content: bytes) -> dict[str, Any]:
    """The keys of a YAML text; none where it is not one."""
    try:
        return parse_yaml(content, "")
    except PipelineError:
        return {}


def outputs_of(lock: Mapping[str, Any]) -> dict[str, str]:
    """The md5 of every file that a dvc.lock records."""
    stages = (lock.get("stages") or {}).values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", []) if "md5" in out}


def _evaluations(root: Path, triples: list[Triple], lock: Mapping[str, Any], committed: bool) -> dict[Triple, Path]:
    """Files of per-query values: of the workspace, or those of DVC's cache that a dvc.lock names."""
    known = outputs_of(lock)
    cache = cache_folder(root) if committed and known else None
    found = {}
    for method, seed, benchmark in triples:
        name = PurePosixPath("evaluations", method, f"seed{seed}", f"{benchmark}.npz").as_posix()
        path = root / name
        if committed:
            md5 = known.get(name)
            if cache is None or not md5:
                continue
            path = cache / md5[:2] / md5[2:]
        if path.is_file():
            found[method, seed, benchmark] = path
    return found


def cache_folder(root: Path) -> Path | None:
    """The folder of DVC's cache that holds files by their md5; None where there is no DVC project."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return Path(repo.cache.local.path)
    except DvcException:
        return None
