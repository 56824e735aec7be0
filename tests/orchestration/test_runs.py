"""`itm runs`: every run in one table, and each comes back by the command that stands beside it, without training."""

import csv
import io
import json

import pytest

pytestmark = pytest.mark.slow


def runs(project, *arguments: str) -> list[dict]:
    return json.loads(project.itm("runs", "--json", *arguments).stdout)


def restore(project, command: str) -> None:
    """Run a printed command as a shell would."""
    for part in command.split(" && "):
        project.run(*part.split())


@pytest.fixture(scope="session")
def both(once, rates):
    """A tag with one learning rate, a branch with another, which is here. Read only."""

    def make(root) -> None:
        project = rates.copy(root)
        project.run("git", "checkout", "-q", "--force", ".")
        project.run("dvc", "checkout", "-q", "--force")

    return once("both", make)


@pytest.fixture
def two(both, tmp_path):
    """The same, to run in."""
    return both.copy(tmp_path / "two")


def test_each_run_stands_once_with_what_differs(both) -> None:
    found = runs(both)
    assert {(run["method"], tuple(run["where"])) for run in found} == {
        (method, where)
        for method in ("clip", "ditm")
        for where in (
            ("workspace", "faster"),
            (next(w for run in found for w in run["where"] if w in ("main", "master")), "first"),
        )
    }
    assert {json.dumps(run["parameters"]) for run in found} == {
        '{"train.learning_rate": 0.001}',
        '{"train.learning_rate": 0.002}',
    }
    assert {run["state"] for run in found} == {"here", "cache"}
    assert [run["seed"] for run in runs(both, "--method", "ditm")] == [0, 0]


def test_a_restored_run_is_the_same_bit_for_bit_and_nothing_is_trained(two) -> None:
    second = two.results()
    old = next(run for run in runs(two) if run["state"] == "cache" and run["method"] == "ditm")
    restore(two, old["restore"])
    first = two.results()
    assert first != second
    assert two.dvc_status() == {}
    two.repro()
    assert two.ran() == []
    back = next(run for run in runs(two) if "faster" in run["where"])
    restore(two, back["restore"])
    assert two.results() == second
    assert two.dvc_status() == {}
    assert two.ran() == []


def test_a_run_comes_back_from_a_remote_or_says_that_it_must_train(two, tmp_path) -> None:
    first = {run["method"]: run for run in runs(two) if run["state"] == "cache"}["clip"]
    two.run("git", "checkout", "-q", "first")
    two.run("dvc", "checkout")
    expected = two.results()
    two.run("git", "checkout", "-q", "faster")
    two.run("dvc", "checkout")
    two.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"), "--local")
    two.run("dvc", "push", "--all-commits")
    two.run("dvc", "gc", "-w", "-f")
    lost = next(run for run in runs(two) if run["where"] == first["where"] and run["method"] == "clip")
    assert lost["state"] == "remote"
    assert lost["missing"] > 0
    assert lost["restore"].endswith("&& dvc pull")
    restore(two, lost["restore"])
    assert two.results() == expected
    assert two.ran() == []
    two.run("dvc", "gc", "-w", "-f")
    two.run("dvc", "remote", "remove", "store", "--local")
    lost = next(run for run in runs(two) if run["state"] == "train")
    assert lost["restore"].endswith("&& dvc repro")


def test_experiments_are_runs_too_and_are_applied_without_training(by_dvc) -> None:
    by_dvc.commit()
    by_dvc.run("dvc", "exp", "run", "--name", "slower", "-S", "train.learning_rate=0.0005")
    experiment = by_dvc.results()
    by_dvc.run("git", "checkout", "-q", ".")
    by_dvc.run("dvc", "checkout")
    by_dvc.ran()
    found = next(run for run in runs(by_dvc) if "slower" in run["where"] and run["method"] == "clip")
    assert found["parameters"] == {"train.learning_rate": 0.0005}
    assert found["restore"] == "dvc exp apply slower"
    restore(by_dvc, found["restore"])
    assert by_dvc.results() == experiment
    assert by_dvc.ran() == []


def test_table_csv_and_sorting(both) -> None:
    text = both.itm("runs", "-m", "retrieval/value", "--sort", "retrieval/value").stdout
    assert "train.learning_rate=0.002" in text
    assert "its files are in DVC's cache" in text
    rows = list(csv.DictReader(io.StringIO(both.itm("runs", "--csv", "-m", "retrieval").stdout)))
    assert {row["train.learning_rate"] for row in rows} == {"0.001", "0.002"}
    values = [run["metrics"]["retrieval/value"] for run in runs(both, "-m", "retrieval", "--sort", "retrieval/value")]
    assert values == sorted(values, reverse=True)


def test_older_commits_are_asked_for(two) -> None:
    two.set("train.learning_rate", 0.003)
    two.repro()
    two.commit()
    rates = {run["parameters"]["train.learning_rate"] for run in runs(two)}
    assert rates == {0.001, 0.003}
    more = {run["parameters"]["train.learning_rate"] for run in runs(two, "--commits", "3")}
    assert more == {0.001, 0.002, 0.003}
    assert {run["parameters"]["train.learning_rate"] for run in runs(two, "--rev", "HEAD~1")} == more


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "retrieval.value"], "no metric 'retrieval.value'; did you mean 'retrieval/value'?"),
        (["--method", "dtm"], "no run of the method 'dtm'; did you mean 'ditm'?"),
        (["--rev", "nowhere"], "no revision or experiment 'nowhere'"),
        (["--sort", "metod"], "--sort metod: no such column; did you mean 'method'?"),
        (["--json", "--csv"], "give --json or --csv, not both"),
    ],
)
def test_bad_arguments(reproduced, arguments: list[str], message: str) -> None:
    done = reproduced.itm("runs", *arguments, ok=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_and_absent_results(fresh) -> None:
    done = fresh.itm("runs", ok=False)
    assert "no results here or in any branch, tag or experiment; run `dvc repro`" in done.stderr
    place = fresh.root / "results/runs/clip/seed0"
    place.mkdir(parents=True)
    (place / "retrieval.json").write_text('{"value": "high"}')
    done = fresh.itm("runs", ok=False)
    assert done.returncode == 1
    assert "results/runs/clip/seed0/retrieval.json holds no metrics" in done.stderr


def test_results_of_former_parameters_are_not_of_the_run(by_dvc) -> None:
    stale = by_dvc.root / "results/runs/clip/seed0/cxc.json"
    stale.write_text('{"value": 1}')
    by_dvc.edit(
        "dvc.lock",
        "stages:\n",
        "stages:\n  old:\n    cmd: x\n    outs:\n    - path: evaluations/clip/seed0/cxc.npz\n      md5: "
        + "a" * 32
        + "\n",
    )
    found = runs(by_dvc, "--method", "clip")
    assert [run["state"] for run in found] == ["here"]
    assert not any(key.startswith("cxc") for key in found[0]["metrics"])
