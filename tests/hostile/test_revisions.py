"""Branches of others, read and not checked out: what they hold is told in one message, whatever it is."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from itm.errors import DataError, ProjectError
from itm.parse import LARGEST, parse_json, parse_keys, parse_yaml
from itm.pipeline.lockfile import with_entry
from itm.pipeline.revisions import read_held, read_revision, resolve
from itm.runs.table import places, read_runs

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000))
YAML = {
    "aliases that grow": (LAUGHS, "more than 2,000,000 values"),
    "aliases as keys of aliases": (LAUGHS + "b: {<<: [*a29, *a29]}", "more than 2,000,000 values"),
    "an alias of itself": ("a: &a [*a]", "stands for nothing, or for what it lies in"),
    "an unknown alias": ("a: *b", "stands for nothing"),
    "a chain of aliases": (CHAIN, "more than 100 lists and mappings inside each other"),
    "60,000 brackets": ("a: " + "[" * 60_000, "inside each other"),
    "60,000 braces": ("{a: " * 60_000, "inside each other"),
    "60,000 indents": ("".join(f"{' ' * n}a:\n" for n in range(400)), "inside each other"),
    "a huge text": ("a: " + "x" * LARGEST, "larger than 67.1 MB"),
    "an object of Python": ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    "a number of 5,000 digits": ("a: " + "9" * 5000, "digits"),
    "a number of 80,000 bits": ("a: 0x" + "f" * 20_000, "a whole number of 80000 bits"),
    "no day": ("a: 2001-99-99", "month must be"),
    "a date": ("a: 2001-01-01", "a date is neither text nor number"),
    "a number as a key": ("1: a", "the key 1 is no text"),
    "a list as a key": ("[a]: b", "not valid YAML"),
    "bad base64": ("a: !!binary x", "not valid YAML"),
    "no number": ("a: !!int ''", "not valid YAML"),
    "no text": (b"a: \xff\xfe", "codec can't decode"),
    "two documents": ("a: 1\n--- \nb: 1", "single document"),
    "a list": ("- a", "expected keys with values, found list"),
}


@pytest.mark.parametrize("case", YAML)
def test_yaml_beyond_the_limits(case: str) -> None:
    text, message = YAML[case]
    with pytest.raises(DataError, match=f"^there: .*{message}") as caught:
        parse_keys(text if isinstance(text, bytes) else text.encode(), "there")
    assert len(str(caught.value)) < 1000


def test_yaml_within_the_limits() -> None:
    text = b"\xef\xbb\xbfa: &a {b: [1, 2.5, true, null, x]}\nc: {<<: *a, d: *a}\n"
    inner = {"b": [1, 2.5, True, None, "x"]}
    assert parse_yaml(text, "") == {"a": inner, "c": {**inner, "d": inner}}
    deep = b"[" * 100 + b"]" * 100
    assert parse_json(deep, "") == parse_yaml(deep, "")
    with pytest.raises(DataError, match="inside each other"):
        parse_yaml(b"[" + deep + b"]", "")


JSON = {
    "60,000 brackets": ("[" * 60_000, "recursion"),
    "200 brackets": ("[" * 200 + "1" + "]" * 200, "inside each other"),
    "a number of 5,000 digits": ("9" * 5000, "digits"),
    "a number of 400 digits": ("9" * 400, "a whole number of 1329 bits"),
    "no text": (b"\xff\xff", "codec can't decode"),
    "nothing": ("", "Expecting value"),
}


@pytest.mark.parametrize("case", JSON)
def test_json_beyond_the_limits(case: str) -> None:
    with pytest.raises(DataError, match=f"^there: not valid JSON: .*{JSON[case][1]}"):
        parse_json(JSON[case][0], "there")
    with pytest.raises(DataError, match="larger than 3 B"):
        parse_json("[1,2]", "there", largest=3)


@pytest.mark.parametrize("name", ["[" * 60_000, "*a", "&a [*a]", "!!binary x", "{a: b}", "- a", "1"])
def test_a_stage_of_dvc_lock_with_a_hostile_name(name: str) -> None:
    head = "schema: '2.0'\nstages:\n"
    assert with_entry(f"{head}  {name}:\n    cmd: run\n", f"{head}  a:\n    cmd: run\n") is None


PARAMETERS = {"methods": ["clip"], "seeds": [0], "benchmarks": ["retrieval"]}
RUN = "results/runs/clip/seed0/retrieval.json"
GOOD = {"params.yaml": json.dumps(PARAMETERS), "dvc.lock": "{}", RUN: '{"rsum": 1}'}


def lock(outs: object) -> str:
    return json.dumps({"schema": "2.0", "stages": {"a": {"cmd": "x", "outs": outs}}})


def params(**changes: object) -> str:
    return json.dumps(PARAMETERS | changes)


BRANCHES = {
    "aliases": ("params.yaml", LAUGHS, "evil: params.yaml: not valid YAML: more than 2,000,000 values"),
    "brackets": ("params.yaml", "[" * 60_000, "evil: params.yaml: not valid YAML: more than 100 lists"),
    "a list": ("params.yaml", "- a", "evil: params.yaml: expected keys with values, found list"),
    "no methods": ("params.yaml", params(methods=3), "evil: params.yaml: methods is no list of names"),
    "nested methods": ("params.yaml", params(methods=[["clip"]]), "methods is no list of names"),
    "a seed of text": ("params.yaml", params(seeds=["²"]), "seeds is no list of whole numbers"),
    "benchmarks by name": ("params.yaml", params(benchmarks={"a": 1}), "benchmarks is no list of names"),
    "data": ("params.yaml", params(data=[]), "data.name is no name"),
    "a lock of aliases": ("dvc.lock", LAUGHS, "evil: dvc.lock: not valid YAML: more than 2,000,000 values"),
    "a lock of lists": ("dvc.lock", '{"stages": [1]}', "evil: dvc.lock: not as DVC writes it"),
    "outputs of text": ("dvc.lock", lock("md5"), "evil: dvc.lock: not as DVC writes it"),
    "a way out of the cache": (
        "dvc.lock",
        lock([{"path": "evaluations/clip/seed0/retrieval.npz", "md5": "../../x"}]),
        "evil: dvc.lock: 1 outputs have no md5 .*x'",
    ),
    "an absolute md5": ("dvc.lock", lock([{"path": "a", "md5": "/etc/passwd"}]), "1 outputs have no md5"),
    "an md5 and a line": ("dvc.lock", lock([{"path": "a", "md5": "a" * 32 + "\n"}]), "1 outputs have no md5"),
    "metrics of brackets": (RUN, "[" * 60_000, f"evil: {RUN} holds no metrics"),
    "metrics of text": (RUN, '{"rsum": "1"}', f"evil: {RUN} holds no metrics"),
    "metrics without end": (RUN, '{"rsum": 1e999}', f"evil: {RUN} holds no metrics"),
    "a huge file": (RUN, " " * (257 << 20), r"evil: .* hold 269.5 MB, more than 268.4 MB"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    return root


def commit(root: Path, files: dict[str, str | Path], branch: str = "evil") -> None:
    """A branch with these files (a path: a link), which nothing checks out."""

    def git(*arguments: str, given: str = "") -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
        return subprocess.run(command, cwd=root, input=given, check=True, capture_output=True, text=True).stdout.strip()

    git("read-tree", "--empty")
    for path, content in files.items():
        blob = git("hash-object", "-w", "--stdin", given=str(content))
        git(
            "update-index",
            "--add",
            "--cacheinfo",
            f"{'120000' if isinstance(content, Path) else '100644'},{blob},{path}",
        )
    made = git("commit-tree", git("write-tree"), "-m", "made")
    git("update-ref", f"refs/heads/{branch}", made)


@pytest.mark.slow
@pytest.mark.parametrize("case", BRANCHES)
def test_a_hostile_branch_is_one_message(repository: Path, case: str) -> None:
    path, content, message = BRANCHES[case]
    commit(repository, {**GOOD, path: content})
    for door in (
        lambda: read_revision(repository, "evil"),
        lambda: read_runs(repository, places(repository, [], 0)),
    ):
        with pytest.raises(ProjectError, match=message) as caught:
            door()
        assert len(str(caught.value)) < 1000


def test_what_is_no_plain_result_is_no_result(repository: Path) -> None:
    """Links, folders below, seeds in other words: files that no run writes."""
    secret = Path(tempfile.gettempdir()) / "secret"
    others = [
        "clip/seed00/retrieval.json",
        "clip/seed²/retrieval.json",
        "clip/seed0/a/b.json",
        "x/seed0/retrieval.json",
    ]
    files = {**GOOD, **{f"results/runs/{each}": '{"rsum": 2}' for each in others}}
    commit(repository, {**files, "params.yaml": params(seeds=[1, 0], benchmarks=["retrieval", "a/b", "linked"])})
    assert dict(read_revision(repository, "evil").metrics) == {("clip", 0, "retrieval"): {"rsum": 1}}
    commit(repository, {**files, "results/runs/clip/seed0/linked.json": secret})
    held = read_held(repository, resolve(repository, "evil"), "evil")
    assert list(held.metrics(["linked", "retrieval"])) == [("clip", 0, "retrieval")]
