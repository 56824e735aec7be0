"""The itm command: what it lists, what it writes, how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from presets import FEW, write_small_conf
from typer.testing import CliRunner

from itm import cli
from itm.config import BENCHMARK_NAMES, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the configuration alone, with few methods, as the current folder."""
    write_small_conf(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def run(*words):
    return CliRunner().invoke(cli.app, list(words))


@pytest.mark.slow
def test_preset_writes_a_valid_file_and_shows_what_changed(project):
    assert run("preset", "scenes").exit_code == 0
    result = run("preset", "scenes", "model=offline", "train.epochs=3")
    assert result.exit_code == 0
    assert "train.epochs" in result.output
    assert "parameters changed in params.yaml" in result.output
    assert load(project / "params.yaml").train.epochs == 3
    assert "no parameter changed" in run("preset", "scenes", "model=offline", "train.epochs=3").output


@pytest.mark.slow
def test_a_preset_states_the_methods_in_use_and_tells_of_one_in_a_line(project):
    run("preset", "scenes")
    assert set(load(project / "params.yaml").method) == {"clip", "vse", "ditm"}
    result = run("preset", "scenes", "methods=[clip,vse,ditm,esl-global]")
    assert set(load(project / "params.yaml").method) == {"clip", "vse", "ditm", "esl-global"}
    assert [line.split() for line in result.output.splitlines() if "esl-global" in line][-1] == [
        "method.esl-global",
        "-",
        "'stated'",
    ]
    assert "2 parameters changed" in result.output
    assert "2 parameters changed" in run("preset", "scenes").output
    run("preset", "scenes", "method.esl-token.loss.margin=0.1")
    assert load(project / "params.yaml").entry("esl-token").loss.margin == 0.1


def test_preset_works_from_a_folder_below(project, monkeypatch):
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert run("preset", "scenes").exit_code == 0
    assert (project / "params.yaml").is_file()
    assert "params.yaml: valid" in run("check").output


@pytest.mark.slow
def test_check_of_a_preset_writes_nothing(project):
    run("preset", "scenes")
    before = (project / "params.yaml").read_bytes()
    result = run("preset", "scenes", "seeds=[1]", "--check")
    assert result.exit_code == 1
    assert "1 parameter would change" in result.output
    assert (project / "params.yaml").read_bytes() == before
    assert run("preset", "scenes", "--check").exit_code == 0


@pytest.mark.slow
def test_a_refused_preset_leaves_the_file_alone(project):
    run("preset", "scenes")
    before = (project / "params.yaml").read_bytes()
    assert run("preset", "scenes", "train.epochs=0").exit_code != 0
    assert (project / "params.yaml").read_bytes() == before
    assert [path.name for path in project.iterdir() if path.name.startswith(".")] == []


def test_lists_are_one_name_a_line(project):
    for command, names in {
        "list methods": set(FEW),
        "list benchmarks": set(BENCHMARK_NAMES),
    }.items():
        lines = run(*command.split()).output.splitlines()
        assert {line.split()[0] for line in lines} == names
        assert all(len(line.split(None, 1)) == 2 for line in lines)


def test_recipes_and_data_sets_are_listed_by_preset_alone(project):
    lines = run("preset").output.splitlines()
    assert lines == run("list", "presets").output.splitlines() == run("presets").output.splitlines()
    titles = [line for line in lines if not line.startswith(" ")]
    named = [line.split() for line in lines if line.startswith(" ")]
    assert titles == [
        "Recipes, `itm preset RECIPE data=DATA [KEY=VALUE]...`",
        "Data sets; alone, `itm preset DATA`, with the recipe in brackets",
    ]
    conf = ROOT / "conf"
    assert [words[0] for words in named] == [
        *sorted(file.stem for file in (conf / "recipe").glob("*.yaml")),
        *sorted(file.stem for file in (conf / "data").glob("*.yaml")),
    ]
    assert all(len(words) > 3 for words in named)
    assert not (project / "params.yaml").exists()


def test_the_first_line_of_the_file_is_the_command_that_makes_it(project):
    run("preset", "scratch", "data=scenes", "train.epochs=3")
    first = (project / "params.yaml").read_text().splitlines()[0]
    assert first.startswith("# Composed by `itm preset scratch data=scenes`.")
    assert "1 parameter would change" in run("preset", "scratch", "data=scenes", "--check").output
    assert "no parameter changed" in run("preset", "scenes", "train.epochs=3").output


def test_methods_of_ones_own_are_listed(project):
    run(
        "preset",
        "scenes",
        "+method.wide={like: vse, loss: {margin: 0.4, mining: sum}}",
    )
    listed = dict(line.split(None, 1) for line in run("list", "methods").output.splitlines())
    assert listed["wide"] == "loss vse; only in params.yaml"


def test_errors_are_one_message_and_status_1(project):
    done = subprocess.run(
        [sys.executable, "-m", "itm.cli", "preset", "flick"], capture_output=True, text=True, check=False, cwd=project
    )
    assert done.returncode == 1
    assert (
        done.stderr == "itm: no preset 'flick'; did you mean 'flickr8k'? (`itm preset` lists recipes and data sets)\n"
    )


def test_an_unknown_stage_names_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["itm", "stage", "trian"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "no stage 'trian'; did you mean 'train'?" in capsys.readouterr().err
