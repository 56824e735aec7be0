"""Twelve commands at the top, each with an example that works; and every spelling that ever did still does."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_lines import parse
from presets import write_small_conf
from typer.testing import CliRunner

from itm import cli

ROOT = Path(__file__).parents[2]
TOP = [name for group in cli.COMMANDS.values() for name in group]
EXAMPLES = {name: command.example for group in cli.COMMANDS.values() for name, command in group.items()}

OLD = {
    "presets": "list",
    "methods": "list",
    "benchmarks": "list",
    "data list": "data list",
    "check --params params.yaml": "runs check",
    "migrate params.yaml models/ditm/seed0/model.json": "runs migrate",
    "sync": "runs sync",
    "doctor --repair": "runs doctor",
    "stage train --help": "runs stage",
    "verify ditm/seed0 --no-evaluate": "runs verify",
    "du --json": "runs du",
    "gc --apply --days 3": "runs gc",
    "export models/ditm/seed0 --out graphs": "runs export",
    "import vsd-arrays f30k --out data/vsd": "data import vsd-arrays",
    "ensemble embeddings/a/seed0 embeddings/b/seed0 --standardise": "evaluate ensemble",
    "transfer models/clip/seed0 --data ../scenes/data": "evaluate transfer",
    "diagnose ditm ditm-margin --split dev": "evaluate diagnose",
    "report --compare HEAD workspace --samples 9": "compare revisions",
    "report --out a.html --compare=HEAD workspace": "compare revisions",
    "index models/ditm/seed0 --images photos --out photos.index": "search index",
    "search index --index photos.index": "search",
    "score bulk": "score",
    "export models/ditm/seed0 --out onnx": "runs export",
    "compare evaluations/clip evaluations/ditm": "compare",
    "runs --commits 3": "runs",
}
"""Lines that worked before there were twelve, and the command that each means."""


def help_of(*words):
    done = CliRunner().invoke(cli.app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(("line", "name"), OLD.items())
def test_an_old_spelling_still_means_what_it_did(line, name):
    assert " ".join(parse(shlex.split(line))[0]) == name


def test_no_old_spelling_is_missing_from_the_walk():
    assert cli.ALIASES.keys() <= {line.split()[0] for line in OLD}
    assert {
        f"{top} {part}" for group in cli.COMMANDS.values() for top, each in group.items() for part in each.below
    } <= {" ".join(parse(shlex.split(line))[0][:2]) for line in OLD}


def test_the_help_names_twelve_commands_and_no_other():
    listed = re.findall(r"^│ ([a-z]+)  +\S", help_of(), re.M)
    assert listed == TOP
    assert len(TOP) == 12


@pytest.mark.parametrize("name", [*cli.ALIASES, "data list", "list"])
def test_a_short_form_has_its_help(name):
    words = name.split()
    text = help_of(*words)
    assert (
        "stage NAME" in text if words == ["stage"] else f"Usage: itm {cli.ALIASES.get(name, name).split()[0]}" in text
    )


@pytest.mark.parametrize("name", TOP)
def test_the_help_ends_with_an_example_on_a_line_of_its_own(name):
    *_, before, last = (line.strip() for line in help_of(name).splitlines() if line.strip())
    assert before == "Example:"
    assert last == EXAMPLES[name]
    assert parse(shlex.split(last)[1:])[0][0] == name


def test_the_help_of_a_command_lists_what_lies_below_it():
    text = help_of("runs")
    for part in cli.UPKEEP:
        assert f"itm runs {part} " in text


PARSED_ONLY = {"search": "a model", "explore": "a model, and a server"}
"""Commands whose examples need what a test does not make; tests/index and tests/explore run others like them."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder in which every example but those has what it names."""
    from itm.config.presets import compose
    from itm.config.render import render
    from itm.evaluation.published import evaluate_file
    from itm.grading.texts import fit_idf, read_captions
    from itm.text.tables import write_idf

    parameters = compose("scenes", root=write_small_conf(tmp_path))
    (tmp_path / "params.yaml").write_text(render(parameters, "scenes"))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images = random.standard_normal((40, 8))
    owners = np.repeat(np.arange(40), 3)
    texts = images[owners] + 0.5 * random.standard_normal((120, 8))
    arrays = {"image_ids": np.arange(40), "image_embeddings": images, "caption_ids": np.arange(120)}
    arrays |= {"caption_embeddings": texts, "caption_image_ids": owners}
    for name in ("mine", "dev"):
        np.savez(tmp_path / f"{name}.npz", **arrays)
    words = ["a", "dog", "on", "grass", "runs", "white", "small", "two", "people", "with", "red", "ball"]
    rows = [f"{n},{n // 3},{' '.join(random.choice(words, 2 + n % 6))}" for n in range(120)]
    (tmp_path / "dev.csv").write_text("\n".join(["caption_id,image_id,text", *rows]))
    table = fit_idf(read_captions(tmp_path / "dev.csv", images=True), parameters.score)
    (tmp_path / "data/scored").mkdir(parents=True)
    write_idf(tmp_path / "data/scored/idf.parquet", table, table.words)
    (tmp_path / "evaluations").mkdir()
    for method in ("clip", "ditm"):
        evaluate_file(tmp_path / "mine.npz", ["pairs"]).write(None, tmp_path / "evaluations" / method)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TOP if name not in PARSED_ONLY])
def test_the_example_runs(name, place, tmp_path_factory):
    # the results of this repository, read only; what the package brings along; what was made here
    empty = tmp_path_factory.mktemp("empty")
    folder = {"runs": ROOT, "new": empty, "plan": empty, "data": empty}.get(name, place)
    done = subprocess.run(
        [sys.executable, "-m", "itm.cli", *shlex.split(EXAMPLES[name])[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("words", [["--help"], ["list", "benchmarks"], ["runs", "--help"], ["evaluate", "--help"]])
def test_help_and_lists_import_nothing_heavy(words):
    heavy = ("torch", "hydra", "pandas", "numpy", "scipy", "dvc", "pyarrow", "pydantic")
    known = heavy if words == ["--help"] else heavy[:-1]
    code = (
        "import sys; from typer.testing import CliRunner; from itm import cli; "
        f"CliRunner().invoke(cli.app, {words}); print([m for m in {known} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "extra"),
    [(["transfer", "m"], "train"), (["evaluate", "transfer", "m"], "train"), (["search", "index", "m"], "explore")],
)
def test_a_missing_package_names_the_extra_of_the_command(words, extra, monkeypatch, capsys):
    def fail():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["itm", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert f"graded-itm[{extra}]" in capsys.readouterr().err
