"""Two revisions compared: read from git and DVC's cache, paired where the queries are the same, honest where not."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import NARROW, WIDE, overflow, screenshot, violations
from ruamel.yaml import YAML

from itm import cli
from itm.comparison.changes import NONE, QUERIES, SEEDS, compare_revisions
from itm.comparison.page import to_html
from itm.errors import ConfigError, DataError
from itm.pipeline.revisions import changed_code, read_revision, resolve

ROOT = Path(__file__).parents[2]
IMAGES = 40


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def write_run(root: Path, method: str, seed: int, ranks: np.ndarray, ids: str = "image") -> None:
    """One evaluated run: metrics as git keeps them, per-query values as DVC does."""
    folder = root / "results/runs" / method / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    hits = {f"r{k}": float(np.mean(ranks < k)) for k in (1, 5, 10)}
    rsum = 100 * sum(hits.values())
    (folder / "retrieval.json").write_text(json.dumps({"i2t": hits, "rsum": rsum}))
    stored = root / "evaluations" / method / f"seed{seed}" / "retrieval.npz"
    stored.parent.mkdir(parents=True, exist_ok=True)
    names = np.array([f"{ids}-{n}" for n in range(IMAGES)])
    np.savez(stored, image_ids=names, i2t_rank=ranks.astype(float), protocol=np.array('{"recall_at": [1, 5, 10]}'))


def write_state(root: Path, bad: int, seeds: list[int], methods: list[str], ids: str = "image", **extra) -> None:
    """Parameters, runs whose first `bad` queries fail, and a dvc.lock that names the evaluations in the cache."""
    shutil.rmtree(root / "results", ignore_errors=True)
    parameters = {"methods": methods, "seeds": seeds, "benchmarks": ["retrieval"], **extra}
    YAML().dump(parameters, root / "params.yaml")
    for method in methods:
        for seed in seeds:
            ranks = np.where(np.arange(IMAGES) < bad + seed, 20, 0)
            write_run(root, method, seed, ranks, ids)


def lock(root: Path, cached: bool = True) -> None:
    """Record the evaluations as DVC does, and put them into its cache."""
    outs = []
    for path in sorted((root / "evaluations").rglob("*.npz")):
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        outs.append({"path": path.relative_to(root).as_posix(), "md5": md5})
        if cached:
            place = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    YAML().dump({"schema": "2.0", "stages": {"evaluate": {"outs": outs}}}, root / "dvc.lock")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits: `old` (30 of 40 queries fail) and `new` (2 fail), two seeds each. Read only."""
    root = tmp_path_factory.mktemp("committed") / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (root / ".gitignore").write_text("/evaluations/\n/.dvc/cache\n/.dvc/tmp\n")
    (root / "conf").mkdir()
    (root / "conf/config.yaml").write_text("{}\n")
    (root / "src").mkdir()
    for tag, bad, rate in (("old", 30, 0.1), ("new", 2, 0.2)):
        write_state(root, bad, [0, 1], ["clip", "ditm"], train={"rate": rate})
        lock(root)
        (root / "src/code.py").write_text(f"BAD = {bad}\n")
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", tag)
        git(root, "tag", tag)
    return root


@pytest.fixture
def project(committed: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(committed, tmp_path / "a \"project\" with 'quotes'")


def by_key(changes, method="clip"):
    return {change.column.key: change for change in changes if change.method == method}


def test_commits_are_paired_by_the_cache(project):
    shutil.rmtree(project / "evaluations")
    first, second = read_revision(project, "old"), read_revision(project, "new")
    assert len(first.evaluations) == len(second.evaluations) == 4
    change = by_key(compare_revisions(first, second, samples=200))["i2t/r1"]
    # failing: 30 and 31 of 40 against 2 and 3
    assert change.a.mean == pytest.approx(1 - 30.5 / 40)
    assert change.difference == pytest.approx(28 / 40)
    assert change.test == QUERIES
    assert change.low < 28 / 40 < change.high
    assert change.verdict == "better"
    assert by_key(compare_revisions(second, first, samples=200))["i2t/r1"].verdict == "worse"


def test_equal_revisions_are_not_told_apart(project):
    revision = read_revision(project, "new")
    changes = compare_revisions(revision, read_revision(project, "main"), samples=200)
    tested = [change for change in changes if change.test == QUERIES]
    assert tested
    assert {change.verdict for change in tested} == {"same"}
    assert {change.p for change in tested} == {1.0}


def test_without_the_cache_seeds_decide(project):
    shutil.rmtree(project / ".dvc/cache")
    first, second = read_revision(project, "old"), read_revision(project, "new")
    assert first.evaluations == {}
    change = by_key(compare_revisions(first, second))["i2t/r1"]
    assert change.test == SEEDS
    from scipy.stats import ttest_ind

    values = [1 - 30 / 40, 1 - 31 / 40], [1 - 2 / 40, 1 - 3 / 40]
    expected = ttest_ind(values[1], values[0], equal_var=False).pvalue
    assert change.p >= expected * 0.999
    assert change.verdict == "better"
    # a figure that is no mean over queries is tested by seeds, too
    assert by_key(compare_revisions(first, second))["rsum"].test == SEEDS


def test_other_queries_are_never_paired(project):
    write_state(project, 2, [0, 1], ["clip", "ditm"], ids="photo")
    changes = compare_revisions(read_revision(project, "old"), read_revision(project, "workspace"))
    assert {change.test for change in changes} == {SEEDS}


def test_one_seed_without_queries_is_not_tested(project):
    write_state(project, 2, [0], ["clip"])
    shutil.rmtree(project / "evaluations")
    changes = compare_revisions(read_revision(project, "old"), read_revision(project, "workspace"))
    assert {change.test for change in changes} == {NONE}
    assert {change.verdict for change in changes} == {"untested"}
    assert {change.method for change in changes} == {"clip"}


def test_stale_runs_of_other_methods_do_not_count(project):
    write_run(project, "gone", 0, np.zeros(IMAGES))
    assert read_revision(project, "workspace").methods == ["clip", "ditm"]


def test_experiments_are_found_by_name(project):
    commit = git(project, "rev-parse", "new")
    base = git(project, "rev-parse", "old")
    git(project, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/smoky-name", commit)
    git(project, "update-ref", "refs/exps/exec/EXEC_HEAD", base)
    assert resolve(project, "smoky-name") == commit
    assert read_revision(project, "smoky-name").label == f"smoky-name ({commit[:9]})"
    git(project, "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/smoky-name", base)
    with pytest.raises(ConfigError, match="2 experiments are called 'smoky-name'"):
        resolve(project, "smoky-name")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nwe", r"no revision or experiment 'nwe'; .*new"),
        ("--all", "no revision or experiment '--all'"),
        ("new:params.yaml", "no revision or experiment"),
        ("empty", "empty: has no params.yaml"),
        ("bare", "bare: has no results"),
    ],
)
def test_what_is_no_revision_is_told(project, name, message):
    git(project, "checkout", "-q", "--orphan", "empty")
    git(project, "rm", "-rqf", ".")
    git(project, "commit", "-q", "--allow-empty", "-m", "empty")
    (project / "params.yaml").write_text("methods: [clip]\nseeds: [0]\nbenchmarks: [retrieval]\n")
    git(project, "checkout", "-q", "-b", "bare")
    git(project, "add", "params.yaml")
    git(project, "commit", "-q", "-m", "bare")
    with pytest.raises((ConfigError, DataError), match=message):
        read_revision(project, name)


def test_nothing_in_common_is_told(project):
    write_state(project, 2, [0], ["vse"])
    with pytest.raises(DataError, match="no method and benchmark in common"):
        compare_revisions(read_revision(project, "old"), read_revision(project, "workspace"))


def test_the_page_shows_what_changed_and_stays_itself(project):
    first, second = read_revision(project, "old"), read_revision(project, "new")
    changes = compare_revisions(first, second, samples=200)
    code = changed_code(project, first, second)
    assert code == ["src/code.py"]
    html = to_html(first, second, changes, [("train.rate", "0.1", "<b>0.2</b>")], code)
    assert "<script" not in html
    assert "://" not in html
    assert "&lt;b&gt;0.2&lt;/b&gt;" in html
    assert "src/code.py" in html
    assert "clip: of 4 figures B is better in" in html
    assert html.count('class="change') == len(changes)
    assert html == to_html(first, second, changes, [("train.rate", "0.1", "<b>0.2</b>")], code)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_the_page(project, monkeypatch, capsys):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "itm.cli", "report", "--compare", "old", "new"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "retrieval i2t R@1" in done.stdout
    assert "+70.0 ▲" in done.stdout
    assert "query by query" in done.stdout
    page = (project / "comparison.html").read_text(encoding="utf-8")
    assert "train.rate" in page
    monkeypatch.chdir(project)
    monkeypatch.setattr("sys.argv", ["itm", "report", "--compare", "odl", "new"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "itm: no revision or experiment 'odl'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_the_page_in_a_browser(project, browser):
    first, second = read_revision(project, "old"), read_revision(project, "new")
    html = to_html(first, second, compare_revisions(first, second, samples=200), [("a", "<i>", "b")], ["src/code.py"])
    (project / "page.html").write_text(html, encoding="utf-8")
    faults = []
    # the page's policy would keep the checker's own script out
    context = browser.new_context(viewport=NARROW, bypass_csp=True)
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", lambda asked: asked.url.startswith("file:") or faults.append(asked.url))
    page.goto((project / "page.html").as_uri())
    assert overflow(page) <= 0
    assert page.locator("rect.change.up").count() > 0
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == [], scheme
    page.set_viewport_size(WIDE)
    screenshot(page, "comparison")
    context.close()
    assert faults == []
