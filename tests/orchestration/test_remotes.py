"""What one machine pushed, a fresh clone pulls; with `itm sync`, neither runner has anything to do there."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from remotes import KINDS, Remote

pytestmark = pytest.mark.slow


@pytest.fixture(params=KINDS)
def remote(request: pytest.FixtureRequest, tmp_path: Path):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with KINDS[request.param](tmp_path / "remote") as found:
        yield found


def add(project, remote: Remote) -> None:
    project.environment.update(remote.environment)
    for command in remote.commands():
        project.run(*command)


def test_a_fresh_clone_with_dvc_pull_has_the_results(by_snakemake, remote: Remote, tmp_path: Path):
    add(by_snakemake, remote)
    by_snakemake.run("dvc", "push", "-q")
    by_snakemake.run("dvc", "status", "--cloud", "--quiet")  # fails if an object is not there
    by_snakemake.commit()
    clone = by_snakemake.clone(tmp_path / "clone")
    add(clone, remote)
    clone.run("dvc", "pull", "-q")
    assert clone.dvc_status() == {}
    assert clone.results() == by_snakemake.results()
    if remote.url.startswith("/"):  # from here on all remotes are alike
        clone.sync()
        assert clone.nothing_to_do()
        assert "up to date" in clone.repro().stdout
        assert clone.ran() == []


def test_what_is_missing_in_a_remote_is_named_and_not_passed_over(by_snakemake, tmp_path: Path):
    with KINDS["folder"](tmp_path / "remote") as remote:
        add(by_snakemake, remote)
    by_snakemake.run("dvc", "push", "-q")
    by_snakemake.commit()
    model = "models/ditm/seed0/model.safetensors"
    digest = by_snakemake.run("md5sum", model).stdout.split()[0]
    (Path(remote.url) / "files/md5" / digest[:2] / digest[2:]).unlink()
    clone = by_snakemake.clone(tmp_path / "clone")
    done = clone.run("dvc", "pull", ok=False)
    assert done.returncode
    assert model in done.stdout + done.stderr
    refused = clone.sync(ok=False)
    assert "stages are not up to date (train@ditm-0, encode@ditm-0, grade@ditm-0)" in refused.stderr
    assert not clone.nothing_to_do()
    clone.repro()
    assert clone.ran() == ["train@ditm-0"]
    assert clone.results() == by_snakemake.results()
