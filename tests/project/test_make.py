"""The Makefile and the CI script: what they plan, and how they refuse. Nothing is installed or run here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")


def run(*words, folder=ROOT, **environment):
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def plan(target, folder, flags="PYTHON=python3"):
    """What make would run. With the variable PYTHON it looks for no Python, each of which takes a moment to ask."""
    done = run("make", "--dry-run", "--no-print-directory", target, folder=folder, MAKEFLAGS=f"-- {flags}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fresh(tmp_path):
    """A checkout that has no environment yet."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_help_explains_every_target():
    makefile = (ROOT / "Makefile").read_text()
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()
    listed = [line.split()[0] for line in run("make", "--no-print-directory", "help", MAKEFLAGS="").stdout.splitlines()]
    assert sorted(listed) == sorted(declared)


def test_repro_makes_the_environment_first_and_runs_the_pipeline(fresh):
    lines = plan("repro", fresh)
    order = [lines.index(part) for part in (" venv ", " pip sync ", "--editable .", "dvc repro")]
    assert order == sorted(order)
    assert "--require-hashes --build-constraints requirements.lock requirements.lock" in lines


def test_byte_code_is_made_with_the_environment_whatever_the_machine_says(fresh):
    show = "show: ; @echo uv $$UV_COMPILE_BYTECODE python $$PYTHONDONTWRITEBYTECODE"
    words = "make", "--no-print-directory", "--eval", show, "show"
    done = run(*words, folder=fresh, MAKEFLAGS="-- PYTHON=python3", PYTHONDONTWRITEBYTECODE="1")
    assert done.stdout.split() == ["uv", "1", "python"], done.stderr
    lines = plan("environment", fresh)
    assert lines.index("--editable .") < lines.index(".venv/bin/python -m compileall -q src")


def test_an_environment_in_place_is_not_made_again(fresh):
    (fresh / ".venv").mkdir()
    (fresh / ".venv" / ".synced").touch()
    assert plan("repro", fresh).strip() == ".venv/bin/dvc repro"
    os.utime(fresh / ".venv" / ".synced", (0, 0))
    assert "pip sync" in plan("repro", fresh)


@pytest.mark.slow
def test_uv_is_fetched_where_there_is_none(fresh):
    lines = plan("environment", fresh, "UV=.tools/bin/uv")
    assert "--target .tools --require-hashes --only-binary :all: --requirement .ci/uv.txt" in lines


def test_real_photos_use_their_preset(fresh):
    lines = plan("real", fresh)
    assert "itm preset flickr8k\n" in lines
    assert lines.index("itm preset flickr8k") < lines.index("dvc repro")


def test_one_method_of_a_paper_is_planned_trained_and_compared(fresh):
    (fresh / ".venv").mkdir()
    (fresh / ".venv/.synced").touch()
    lines = plan("paper", fresh, "DATA=coco METHOD=vse-inf WITH=seeds=[0,1]").splitlines()[1:]
    assert [line.removeprefix(".venv/bin/") for line in lines] == [
        "itm plan regions data=coco 'methods=[vse-inf]' seeds=[0,1]",
        "itm preset regions data=coco 'methods=[vse-inf]' seeds=[0,1]",
        "dvc repro",
        "itm runs --method vse-inf --metric retrieval",
    ]
    done = run("make", "paper", folder=fresh, MAKEFLAGS="")
    assert done.returncode != 0
    assert "name both: make paper DATA=coco METHOD=esl-token" in done.stdout


def test_the_ci_script_parses_and_refuses_an_unknown_step():
    assert run("bash", "-n", ".ci/run").returncode == 0
    done = run(".ci/run", "lints")
    assert done.returncode == 1
    assert "no step 'lints'; known: environment audit lint tests slurm real benchmarks smoke long" in done.stderr


def test_the_ci_script_says_what_it_skips():
    done = run(".ci/run", "real", ITM_MIRROR="")
    assert done.returncode == 0
    assert "skipped: flickr8k-mini: ITM_MIRROR is not set" in done.stdout
