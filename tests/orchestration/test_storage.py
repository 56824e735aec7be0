"""`itm du` and `itm gc`: what a commit, an experiment or the workspace needs stays; the rest goes, when asked."""

import fcntl
import json
import os
import time

import pytest

pytestmark = pytest.mark.slow


def gc(project, *arguments: str) -> dict[str, dict]:
    found = json.loads(project.itm("gc", "--json", *arguments).stdout)
    return {item["name"]: item for item in found["items"]}


def objects(project) -> set[str]:
    return {path.parent.name + path.name for path in (project.root / ".dvc/cache/files/md5").glob("*/*")}


@pytest.fixture
def three(rates, tmp_path):
    """Results of three learning rates: the first committed, the second nowhere but in the cache, the third here."""
    project = rates.copy(tmp_path / "three")
    project.run("git", "reset", "-q", "first")
    return project


def test_gc_deletes_what_nothing_names_and_nothing_else(three) -> None:
    before = objects(three)
    planned = gc(three)
    assert planned["cache"]["files"] > 0
    assert objects(three) == before, "a dry run deletes nothing"
    done = gc(three, "--apply")
    assert done["cache"]["files"] == planned["cache"]["files"] == len(before) - len(objects(three))
    assert "cache" not in gc(three), "a second run finds nothing"
    # the workspace is as it was
    assert three.dvc_status() == {}
    third = three.results()
    # the committed results come back, without a stage
    three.run("git", "checkout", "-q", "--force", ".")
    three.run("dvc", "checkout", "--force")
    assert three.dvc_status() == {}
    # and the third from the run-cache or by running: it is in no commit now, but it was here when gc ran
    three.set("train.learning_rate", 0.003)
    three.repro()
    assert three.ran() == ["report"], "DVC does not keep the report in its run-cache, since git does"
    assert three.results() == third
    # the second is really gone
    three.set("train.learning_rate", 0.002)
    three.repro()
    assert any(name.startswith("train@") for name in three.ran())


def test_du_counts_what_gc_would_delete(three) -> None:
    areas = json.loads(three.itm("du", "--json").stdout)
    cache = next(area for area in areas if area["name"] == "DVC's cache")
    sizes = [path.stat().st_size for path in (three.root / ".dvc/cache/files/md5").glob("*/*")]
    assert (cache["size"], cache["files"]) == (sum(sizes), len(sizes))
    assert cache["unused"] == gc(three)["cache"]["size"]
    assert "DVC's cache" in three.itm("du").stdout


def test_gc_waits_for_nobody_and_deletes_nothing_while_a_stage_runs(three) -> None:
    before = objects(three)
    lock = three.root / ".itm/running"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        refused = three.itm("gc", "--apply", ok=False)
        assert gc(three)["cache"]["files"] > 0  # a dry run may look
    assert refused.returncode == 1
    assert "a stage is running" in refused.stderr
    (three.root / ".snakemake/locks").mkdir(parents=True)
    (three.root / ".snakemake/locks/0.input.lock").touch()
    refused = three.itm("gc", "--apply", ok=False)
    assert "snakemake --unlock" in refused.stderr
    (three.root / ".snakemake/locks/0.input.lock").unlink()
    (three.root / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"x": {"pid": os.getpid(), "cmd": "repro"}}}))
    refused = three.itm("gc", "--apply", ok=False)
    assert "DVC is at work" in refused.stderr
    assert objects(three) == before


def test_gc_takes_old_resume_states_and_logs_only(by_dvc) -> None:
    old, new = (by_dvc.root / ".itm/checkpoints" / name for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "state.pt").write_bytes(b"x" * 1000)
    answers = by_dvc.root / ".itm/descriptions/a.jsonl"
    answers.parent.mkdir()
    answers.write_text("{}")
    log = by_dvc.root / "logs/old.log"
    log.write_text("text")
    past = time.time() - 8 * 86400
    for path in (old / "state.pt", old, answers, log):
        os.utime(path, (past, past))
    found = gc(by_dvc, "--apply")
    assert found["resume states"]["size"] == 1000
    assert found["logs"]["files"] == 1
    assert (old.exists(), new.exists(), answers.exists(), log.exists()) == (False, True, True, False)
    assert gc(by_dvc, "--days", "0")["resume states"]["size"] == 1000


def test_files_of_methods_that_no_longer_run_go_if_a_commit_has_them(by_dvc) -> None:
    model = by_dvc.root / "models/clip/seed0/model.safetensors"
    by_dvc.commit()
    by_dvc.set("methods", ["ditm"])
    by_dvc.repro()
    by_dvc.ran()
    stray = by_dvc.root / "models/other/seed0/model.safetensors"
    stray.parent.mkdir(parents=True)
    stray.write_text("of nobody")
    text = by_dvc.itm("gc").stdout
    assert "1 files of methods or seeds that params.yaml no longer names are kept" in text
    assert model.exists()
    found = gc(by_dvc, "--apply")
    assert found["leftovers in models"]["files"] == 5  # weights, card, page, calibrator and its idf table
    assert (model.exists(), stray.exists()) == (False, True)
    assert by_dvc.dvc_status() == {}
    by_dvc.set("methods", ["clip", "ditm"])
    by_dvc.repro()
    assert [name for name in by_dvc.ran() if name != "report"] == [], "restored, not trained"


def test_a_cache_shared_with_other_projects_is_left_alone(by_dvc, tmp_path) -> None:
    by_dvc.commit()
    by_dvc.run("dvc", "cache", "dir", str(tmp_path / "shared"))
    for weight in (0.5, 0.25):
        by_dvc.set("method.ditm.loss.order_weight", weight)
        by_dvc.repro()
    count = len(list((tmp_path / "shared").rglob("*")))
    done = by_dvc.itm("gc", "--apply").stdout
    assert "lies outside of this project" in done
    assert len(list((tmp_path / "shared").rglob("*"))) == count


def test_results_of_a_commit_whose_pipeline_is_broken_stay(by_dvc) -> None:
    good = by_dvc.read("dvc.yaml")
    (by_dvc.root / "dvc.yaml").write_text("stages: [")
    by_dvc.commit()
    (by_dvc.root / "dvc.yaml").write_text(good)
    by_dvc.run("git", "checkout", "-q", "-b", "other")
    by_dvc.set("train.learning_rate", 0.002)
    by_dvc.repro()
    assert gc(by_dvc) == {}


def test_git_that_cannot_answer_is_never_no_git(three) -> None:
    before = objects(three)
    refused = three.itm("gc", "--apply", ok=False, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert refused.returncode == 1
    assert "dubious ownership" in refused.stderr
    assert "nothing was deleted" in refused.stderr
    assert len(refused.stderr) < 1000
    assert objects(three) == before


def test_a_damaged_repository_deletes_nothing(three) -> None:
    before = objects(three)
    (three.root / ".git/HEAD").unlink()
    refused = three.itm("gc", "--apply", ok=False)
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert objects(three) == before


@pytest.mark.parametrize("place", ["standalone/tmpabc", "tmpabc"])
def test_while_an_experiment_has_a_copy_nothing_is_deleted(three, place) -> None:
    """Between two stages of an experiment no lock is held; both places are those of DVC 3."""
    before = objects(three)
    copy = three.root / ".dvc/tmp/exps" / place
    (copy / ".git").mkdir(parents=True)
    refused = three.itm("gc", "--apply", ok=False)
    assert refused.returncode == 1
    assert "tmpabc" in refused.stderr
    assert objects(three) == before
    assert gc(three)["cache"]["files"] > 0, "a dry run may look"


def test_beside_a_running_experiment_nothing_is_deleted(three) -> None:
    """A real one, in a copy of its own."""
    three.run("git", "checkout", "-q", "--force", ".")
    three.ran()
    command = ["dvc", "exp", "run", "--temp", "-S", "method.ditm.loss.order_weight=0.25"]
    with three.waiting("train@ditm-0", *command) as running:
        before = objects(three)
        refused = three.itm("gc", "--apply", ok=False)
        assert refused.returncode == 1
        assert "nothing was deleted" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert objects(three) >= before
    output, _ = running.communicate()
    assert running.returncode == 0, output
    assert gc(three, "--apply")["cache"]["files"] > 0


def test_what_another_worktree_has_is_kept(three, tmp_path) -> None:
    """Its dvc.lock is in no commit, and is the only one that names the second results."""
    planned = gc(three)["cache"]["files"]
    three.run("git", "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    named = objects(three) - kept_by_head(three)
    lock = tmp_path / "other/dvc.lock"
    lock.write_text(lock.read_text() + "".join(f"# md5: {name}\n" for name in sorted(named)))
    assert planned > 0
    assert "cache" not in gc(three)


def kept_by_head(project) -> set[str]:
    text = project.run("git", "show", "HEAD:dvc.lock").stdout
    return {name for name in objects(project) if name in text}
