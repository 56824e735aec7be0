"""Results of a git revision, a DVC experiment or the workspace, read without checking anything out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from itm.errors import ConfigError, DataError, first_few, nearest, size_text
from itm.parse import parse_json, parse_keys
from itm.pipeline.git import git, unknown_history

WORKSPACE = "workspace"
RUNS = "results/runs"
Triple = tuple[str, int, str]
_RUN = re.compile(rf"{RUNS}/([^/]+)/seed(0|[1-9][0-9]{{0,18}})/([^/]+)\.json")
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_LISTS = {"methods": str, "seeds": int, "benchmarks": str}
_LARGEST_TOTAL = 256 << 20
_LARGEST_FIGURE = 1e100
"""Sums and squares of larger ones leave the range of numbers."""


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
        DataError: it holds no params.yaml or no results, or files that are not of their form.
    """
    commit = "" if name == WORKSPACE else resolve(root, name)
    held = read_held(root, commit, name)
    if not held.parameters:
        raise DataError(f"{name}: has no params.yaml, so it holds no results of this pipeline", reason="no-parameters")
    metrics = held.metrics(held.benchmarks)
    if not metrics:
        asked = first_few([f"{RUNS}/{method}/seed*" for method in held.methods])
        raise DataError(f"{name}: has no results ({asked}); run `dvc repro` there and commit", reason="missing-results")
    evaluations = _evaluations(root, list(metrics), held.outputs, bool(commit))
    sources = {path: md5 for path, md5 in held.outputs.items() if path.startswith("data/raw/")}
    return Revision(name, commit, held.parameters, metrics, evaluations, sources)


@dataclass(frozen=True)
class Held:
    """What a commit or the workspace holds, as far as it is of its form; methods, seeds, benchmarks: of params.yaml.

    outputs: md5 of every file that dvc.lock records. files: metrics files by path.
    """

    name: str
    parameters: Mapping[str, Any]
    methods: Sequence[str]
    seeds: Sequence[int]
    benchmarks: Sequence[str]
    outputs: Mapping[str, str]
    files: Mapping[str, bytes]

    def metrics(self, benchmarks: Sequence[str]) -> dict[Triple, Mapping[str, Any]]:
        """The metrics of the runs that params.yaml names, in its order.

        Raises:
            DataError: a file holds something else.
        """
        names: tuple[Sequence[object], ...] = (self.methods, self.seeds, benchmarks)
        places = [{each: place for place, each in enumerate(listed)} for listed in names]
        found: dict[Triple, Mapping[str, Any]] = {}
        for path, content in self.files.items():
            method, seed, benchmark = _RUN.fullmatch(path).groups()  # type: ignore[union-attr]
            triple = method, int(seed), benchmark
            if all(each in known for each, known in zip(triple, places, strict=True)):
                found[triple] = self._numbers(path, content)
        return dict(sorted(found.items(), key=lambda item: [places[axis][item[0][axis]] for axis in range(3)]))

    def _numbers(self, path: str, content: bytes) -> Mapping[str, Any]:
        try:
            values = parse_json(content, path)
        except DataError:
            values = None
        if not isinstance(values, dict) or not _are_numbers(values):
            raise DataError(
                f"{self.name}: {path} holds no metrics; `git checkout -- {path}` or `dvc repro`", reason="damaged"
            )
        return values


def _are_numbers(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_are_numbers, value.values()))
    return value is None or (isinstance(value, int | float) and not abs(value) > _LARGEST_FIGURE)


def read_held(root: Path, commit: str, name: str) -> Held:
    """What a commit ('' = the workspace) holds; no parameters where there is no params.yaml. `name`: for messages.

    Raises:
        DataError: params.yaml or dvc.lock is not of its form; the files are too large.
    """
    files = _committed(root, commit, name) if commit else _here(root, name)
    texts = {file: files.pop(file, b"") for file in ("params.yaml", "dvc.lock")}
    parameters, lock = (parse_keys(text, f"{name}: {file}") if text else {} for file, text in texts.items())
    listed = [parameters.get(key, []) for key in _LISTS]
    faults = [
        f"{key} is no list of {'whole numbers' if kind is int else 'names'}"
        for (key, kind), values in zip(_LISTS.items(), listed, strict=True)
        if not isinstance(values, list) or any(type(each) is not kind for each in values)
    ]
    data = parameters.get("data", {})
    if not isinstance(data, dict) or not isinstance(data.get("name", ""), str):
        faults.append("data.name is no name")
    if faults:
        raise DataError(f"{name}: params.yaml: {'; '.join(faults)}", reason="not-parameters")
    methods, seeds, benchmarks = listed
    return Held(name, parameters, methods, seeds, benchmarks, outputs_of(lock, f"{name}: dvc.lock"), files)


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
    why = "; ".join(filter(None, [nearest(name, known), unknown_history(root)]))
    raise ConfigError(f"no revision or experiment '{name}'; {why}", reason="unknown-revision")


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


def _committed(root: Path, commit: str, name: str) -> dict[str, bytes]:
    """The small files of a commit that results are told from: their sizes first, then all in one call."""
    listed = git(root, "ls-tree", "-r", "-l", "-z", commit, "--", "params.yaml", "dvc.lock", RUNS).stdout
    wanted: dict[str, tuple[bytes, int]] = {}
    for entry in listed.split(b"\0")[:-1]:
        facts, _, encoded = entry.partition(b"\t")
        mode, _, blob, told = facts.split()
        path = os.fsdecode(encoded)
        if mode.startswith(b"100") and _is_ours(path):  # a plain file
            wanted[path] = blob, int(told)
    _check_size(sum(size for _, size in wanted.values()), name)
    content = git(root, "cat-file", "--batch", given=b"".join(blob + b"\n" for blob, _ in wanted.values())).stdout
    files, place = {}, 0
    for path, (_, size) in wanted.items():
        start = content.find(b"\n", place) + 1  # after "<name> blob <size>"
        place = start + size + 1
        files[path] = content[start : place - 1]
    if place != len(content):
        raise DataError(
            f"{name}: git lacks some of its files here (a partial clone?); fetch them (`git fetch --refetch`)",
            reason="missing-objects",
        )
    return files


def _here(root: Path, name: str) -> dict[str, bytes]:
    """The same files of the workspace."""
    paths = [root / "params.yaml", root / "dvc.lock", *sorted((root / RUNS).glob("*/seed*/*.json"))]
    found = {path.relative_to(root).as_posix(): path for path in paths if path.is_file()}
    found = {key: path for key, path in found.items() if _is_ours(key)}
    _check_size(sum(path.stat().st_size for path in found.values()), name)
    return {key: path.read_bytes() for key, path in found.items()}


def _is_ours(path: str) -> bool:
    return path in ("params.yaml", "dvc.lock") or _RUN.fullmatch(path) is not None


def _check_size(size: int, name: str) -> None:
    if size > _LARGEST_TOTAL:
        raise DataError(
            f"{name}: params.yaml, dvc.lock and {RUNS} hold {size_text(size)}, more than "
            f"{size_text(_LARGEST_TOTAL)}; they are not of this pipeline",
            reason="too-large",
        )


def outputs_of(lock: Mapping[str, Any], where: str) -> dict[str, str]:
    """The md5 of every file that a dvc.lock records.

    Raises:
        DataError: it is not as DVC writes it; an md5 that is none would lead out of the cache.
    """
    try:
        outs = [out for stage in (lock.get("stages") or {}).values() for out in stage.get("outs") or []]
        found = {out["path"]: out["md5"] for out in outs if out.get("md5") is not None}
    except (AttributeError, KeyError, TypeError):
        raise DataError(f"{where}: not as DVC writes it; restore it from git", reason="not-a-lock") from None
    wrong = [
        f"{path!r:.60}: {md5!r:.60}"
        for path, md5 in found.items()
        if not (isinstance(path, str) and isinstance(md5, str) and _MD5.fullmatch(md5))
    ]
    if wrong:
        raise DataError(
            f"{where}: {len(wrong)} outputs have no md5 ({first_few(wrong)}); restore it from git", reason="not-a-lock"
        )
    return found


def _evaluations(root: Path, triples: list[Triple], known: Mapping[str, str], committed: bool) -> dict[Triple, Path]:
    """Files of per-query values: of the workspace, or those of DVC's cache that a dvc.lock names."""
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
