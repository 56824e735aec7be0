"""After either runner the other has nothing to do, and both run the same stages again after a change."""

import pytest

pytestmark = pytest.mark.slow

AFTER_DITM = ["encode@ditm-0", "evaluate@ditm-0-retrieval", "grade@ditm-0", "report", "train@ditm-0"]


def test_both_runners_leave_the_same_results_and_the_same_lock_file(reproduced, snaked):
    assert reproduced.results() == snaked.results()
    assert len(reproduced.results()) > 30

    def entries(project):
        from ruamel.yaml import YAML

        return sorted(map(repr, YAML(typ="safe").load(project.root / "dvc.lock")["stages"].items()))

    assert entries(reproduced) == entries(snaked)


def test_after_snakemake_dvc_has_nothing_to_do(by_snakemake):
    assert by_snakemake.dvc_status() == {}
    by_snakemake.ran()
    by_snakemake.repro()
    assert by_snakemake.ran() == []
    assert by_snakemake.nothing_to_do()


def test_after_dvc_and_sync_snakemake_has_nothing_to_do(by_dvc):
    assert by_dvc.nothing_to_do()
    assert by_dvc.dvc_status() == {}


CHANGES = [
    # code that gives the same results, the report's own code, where to compute, and a parameter of one method
    (
        lambda project: (
            project.append("src/itm/data/clean/leaks.py", "# a comment\n"),
            project.append("src/itm/report/__init__.py", "# a comment\n"),
            project.set("device", "auto"),
            project.set("method.ditm.loss.order_weight", 0.125),
        ),
        ["clean", *AFTER_DITM],
    ),
    # one more seed, one method less
    (
        lambda project: (project.set("methods", ["clip"]), project.set("seeds", [0, 1])),
        ["encode@clip-1", "evaluate@clip-1-retrieval", "grade@clip-1", "report", "train@clip-1"],
    ),
]


def test_both_runners_run_the_same_stages_again(by_dvc, by_snakemake):
    for edit, expected in CHANGES:
        for project, run in [(by_dvc, by_dvc.repro), (by_snakemake, by_snakemake.snakemake)]:
            project.ran()
            edit(project)
            run()
            assert (run.__name__, project.ran()) == (run.__name__, expected)
        assert by_snakemake.dvc_status() == {}
        assert by_dvc.results() == by_snakemake.results()
    assert by_dvc.dvc_status() == {}


@pytest.mark.parametrize("link", [pytest.param("copy", marks=pytest.mark.long), "symlink"])
def test_what_snakemake_ran_is_in_dvcs_run_cache(by_snakemake, link: str):
    """Also where the outputs are links into the cache, which must not be written through."""
    if link == "symlink":
        by_snakemake.run("dvc", "config", "cache.type", link)
        by_snakemake.run("dvc", "checkout", "--relink")
        by_snakemake.sync()
    before = by_snakemake.results()
    old = by_snakemake.get("method.ditm.loss.order_weight")
    by_snakemake.set("method.ditm.loss.order_weight", 0.5)
    by_snakemake.snakemake()
    assert by_snakemake.results() != before
    assert by_snakemake.dvc_status() == {}
    by_snakemake.set("method.ditm.loss.order_weight", old)
    by_snakemake.ran()
    by_snakemake.repro()
    assert by_snakemake.ran() == []
    assert by_snakemake.results() == before
    by_snakemake.sync()
    assert by_snakemake.nothing_to_do()


@pytest.mark.long
@pytest.mark.parametrize("runner", ["dvc", "snakemake"])
def test_a_fresh_clone_with_an_empty_cache_runs_through_and_changes_nothing_in_git(by_snakemake, tmp_path, runner):
    by_snakemake.commit()
    clone = by_snakemake.clone(tmp_path / "clone")
    clone.repro() if runner == "dvc" else clone.snakemake()
    ran = clone.ran()
    assert len(ran) == 16
    assert set(ran) >= {"download@scenes.jsonl", "clean", "features", "train@clip-0", "evaluate@ditm-0-retrieval"}
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert clone.results() == by_snakemake.results()


def test_sync_refuses_while_a_stage_is_out_of_date(by_snakemake):
    by_snakemake.set("method.ditm.loss.order_weight", 0.25)
    times = {file: file.stat().st_mtime_ns for file in by_snakemake.root.rglob("models/*/*/*")}
    done = by_snakemake.sync(ok=False)
    assert done.returncode
    assert "2 of 16 stages are not up to date (train@ditm-0, report); run `dvc repro` first" in done.stderr
    assert times == {file: file.stat().st_mtime_ns for file in times}
    assert not by_snakemake.nothing_to_do()


def test_a_partial_run_declares_nothing_else_up_to_date(by_snakemake):
    """A commit of the whole pipeline would launder the stages that did not run with the new code."""
    by_snakemake.append("src/itm/training/__init__.py", "# a comment\n")
    by_snakemake.set("score.minimum_document_frequency", 77)
    by_snakemake.ran()
    by_snakemake.snakemake("--until", "score")
    assert by_snakemake.ran() == ["score"]
    changed = by_snakemake.dvc_status().keys()
    assert {"train@clip-0", "train@ditm-0"} <= changed
    assert "score" not in changed


def test_forced_jobs_run_although_dvc_has_their_results(by_snakemake):
    by_snakemake.ran()
    by_snakemake.snakemake("--forcerun", "score", "--until", "score")
    assert by_snakemake.ran() == ["score"]
    assert by_snakemake.dvc_status() == {}


def test_a_failed_job_stops_only_what_needs_it(by_snakemake):
    by_snakemake.set("train.learning_rate", 0.002)
    by_snakemake.ran()
    done = by_snakemake.snakemake(ok=False, STUB_FAIL="train@ditm-0")
    assert done.returncode
    assert "train@ditm-0: told to fail" in done.stderr + done.stdout  # its log is shown
    clip = ["encode@clip-0", "evaluate@clip-0-retrieval", "grade@clip-0", "train@clip-0"]
    assert by_snakemake.ran() == [*clip, "train@ditm-0"]
    by_snakemake.snakemake()
    assert by_snakemake.ran() == AFTER_DITM
    assert by_snakemake.dvc_status() == {}


@pytest.mark.parametrize("what", ["a parameter", "an input"])
def test_what_changes_while_a_stage_runs_is_not_filed_under_the_new_value(by_snakemake, what: str):
    by_snakemake.set("method.ditm.loss.order_weight", 0.25)
    by_snakemake.ran()
    until_training = ["snakemake", "--cores", "2", "--until", "train"]
    with by_snakemake.waiting("train@ditm-0", *until_training) as running:
        if what == "a parameter":
            by_snakemake.set("method.ditm.loss.order_weight", 0.75)
        else:
            by_snakemake.append("src/itm/training/__init__.py", "# a comment\n")
    output, _ = running.communicate()
    assert running.returncode
    assert "while it ran" in output
    assert "train@ditm-0" in by_snakemake.dvc_status()
    assert by_snakemake.ran() == ["train@ditm-0"]
    by_snakemake.run(*until_training)
    assert "train@ditm-0" in by_snakemake.ran()
    assert "train@ditm-0" not in by_snakemake.dvc_status()


def test_a_queued_experiment_runs_the_code_and_parameters_of_its_own_copy(by_dvc):
    by_dvc.commit()
    before = by_dvc.results()
    by_dvc.append("src/itm/report/__init__.py", "# a comment\n")
    by_dvc.run("dvc", "exp", "run", "--queue", "--name", "weight", "-S", "method.ditm.loss.order_weight=0.125")
    by_dvc.edit("src/stub/report.py", "\n    main()\n", "\n    raise SystemExit('not this code')\n")
    by_dvc.run("dvc", "exp", "run", "--run-all")
    assert by_dvc.results() == before
    shown = by_dvc.run("dvc", "exp", "diff", "HEAD", "weight", "--json").stdout
    assert '"order_weight"' in shown or "method.ditm.loss.order_weight" in shown
