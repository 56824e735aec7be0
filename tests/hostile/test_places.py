"""Where one stands: a copy without git, a shallow clone, a folder below the project's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from itm import cli
from itm.errors import ConfigError
from itm.pipeline.git import dvc_words, last_commits, unknown_history
from itm.pipeline.revisions import resolve
from itm.runs.table import places
from itm.runs.verify import commit_of

RUN = "results/runs/clip/seed0/retrieval.json"


def git(folder: Path, *words: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Two commits: the first brings a result, the second something else."""
    root = tmp_path / "full"
    (root / RUN).parent.mkdir(parents=True)
    (root / RUN).write_text("{}")
    git(root, "init", "-qb", "main")
    for name in ("one", "two"):
        (root / name).touch()
        git(root, "add", "-A")
        git(root, "commit", "-qm", name)
    return root


@pytest.fixture
def shallow(full: Path) -> Path:
    git(full.parent, "clone", "-q", "--depth", "1", full.as_uri(), "shallow")
    return full.parent / "shallow"


def test_the_end_of_a_shallow_clone_changed_nothing(full: Path, shallow: Path) -> None:
    """Git shows all files as new there: the second commit, which holds no result, would be named as its origin."""
    (first,) = last_commits(full, RUN, 5)
    assert commit_of(full, RUN).startswith(first[:7])
    assert commit_of(full, RUN).endswith(" one")
    assert last_commits(shallow, RUN, 5) == []
    assert commit_of(shallow, RUN) == "this clone is shallow: `git fetch --unshallow` brings the other commits"
    (shallow / RUN).write_text("{ }")
    git(shallow, "commit", "-qam", "three")
    assert commit_of(shallow, RUN).endswith(" three")
    assert len(last_commits(shallow, RUN, 5)) == 1


def test_commits_that_are_not_here(full: Path, shallow: Path, tmp_path: Path) -> None:
    without = tmp_path / "without"
    without.mkdir()
    why = {full: "", shallow: "git fetch --unshallow", without: "under no git"}
    for root, said in why.items():
        assert said in unknown_history(root)
        with pytest.raises(ConfigError, match=f"no revision or experiment 'v9'; .*{said}"):
            resolve(root, "v9")
    for root in (shallow, without):
        with pytest.raises(ConfigError, match=f"--commits 2: .*{why[root]}"):
            places(root, [], 2)
        assert places(root, [], 0)[0].name == "workspace"
    assert commit_of(without, RUN) == "no git repository"


def test_dvc_without_git_says_what_to_do() -> None:
    """Its words as DVC 3 gives them."""
    assert "config --local core.no_scm true" in dvc_words(ValueError("/a is not a git repository"))
    assert dvc_words(ValueError("another fault")) == "another fault"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("diagnose ditm", "params.yaml: no such file; run this in {root}, which has one"),
        ("check --params params.yaml", "params.yaml: no such file; run this in {root}, which has one"),
        ("score hello", "data/scored/idf.parquet: no such file"),
        ("explore models/clip/seed0 --images scenes --port 0", "no such folder"),
        ("ensemble a b", "params.yaml: no such file; run this in {root}"),
    ],
)
def test_below_the_project_the_advice_is_to_leave(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").touch()
    (tmp_path / "params.yaml").write_text("mine")
    monkeypatch.chdir(tmp_path / "conf")
    monkeypatch.setattr(sys, "argv", ["itm", *words.split()])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert said.format(root=tmp_path) in told
    assert f"(you are in conf/ of {tmp_path}: run it there)" in told
    assert "itm preset" not in told
