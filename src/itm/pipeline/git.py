"""Git commands, and what a folder without git or with the last commits only cannot know."""

from __future__ import annotations

import subprocess
from pathlib import Path

from itm.errors import ConfigError

WITHOUT_GIT = "; this copy is under no git: `git init` here, or tell DVC so: `dvc config --local core.no_scm true`"


def git(root: Path, *arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """A git command, run in `root` on what it is given; its status is the caller's to judge.

    Raises:
        ConfigError: git is not installed.
    """
    try:
        return subprocess.run(
            ["git", "-c", "core.quotePath=false", *arguments], cwd=root, input=given, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed; revisions are read with it", reason="no-git") from None


def last_commits(root: Path, path: str, count: int) -> list[str]:
    """The last commits that changed a path; not the one at which a shallow clone ends, which only seems to."""
    listed = git(root, "log", f"-{count}", "--format=%H", "--", path).stdout.decode().split()
    place = git(root, "rev-parse", "--git-path", "shallow").stdout.decode().strip()
    file = root / place
    ends = file.read_text(encoding="utf-8").split() if place and file.is_file() else []
    return [commit for commit in listed if commit not in ends]


def unknown_history(root: Path) -> str:
    """Why git does not know all commits of a project, and what to do; '' where it does."""
    done = git(root, "rev-parse", "--is-shallow-repository")
    if done.returncode:
        return "this folder is under no git, so there are no commits"
    if done.stdout.strip() == b"true":
        return "this clone is shallow: `git fetch --unshallow` brings the other commits"
    return ""


def dvc_words(error: Exception) -> str:
    """What DVC says of an error, with what to do where it only lacks git."""
    return f"{error}{WITHOUT_GIT if 'is not a git repository' in str(error) else ''}"
