"""Values of params.yaml reach a stage as they are written: the shell that DVC and Snakemake start runs none of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from itm.config import load
from itm.errors import ConfigError

sys.path.append(str(Path(__file__).parents[1] / "descriptions"))
from chat_server import ChatStub

ROOT = Path(__file__).parents[2]
EVIL = ["x; touch pwned", "$(touch pwned)", "`touch pwned`", "two words", "a && touch pwned #", "> pwned", "*"]
EVIL += ["x' ; touch pwned ; echo '", "0';touch pwned;'", "a\nb; touch pwned", "ünter '$(touch pwned)'"]
PYTHON = '#!/bin/sh\nfor each in "$@"; do printf "%s\\0" "$each"; done\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The project's dvc.yaml, and a `python` that prints its arguments, with zeros between them."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(PYTHON)
    (tmp_path / "bin/python").chmod(0o755)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("evil", EVIL)
def test_no_value_is_run(root: Path, evil: str) -> None:
    from dvc.repo import Repo

    values = yaml.safe_load((root / "params.yaml").read_text())
    values["methods"] = values["benchmarks"] = values["data"]["files"] = values["seeds"] = [evil]
    values["data"]["name"] = evil
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    stages = [stage for stage in Repo(str(root)).index.stages if stage.cmd]
    assert {stage.name.split("@")[0] for stage in stages} >= {"download", "clean", "train", "encode", "evaluate"}
    for stage in stages:
        done = subprocess.run(
            stage.cmd,
            shell=True,
            cwd=root,
            env={**os.environ, "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        given = done.stdout.split("\0")
        assert given[:2] == ["-m", f"itm.stages.{stage.name.split('@')[0]}"]
        if "@" in stage.name:
            assert evil in given
    assert not (root / "pwned").exists()


@pytest.mark.parametrize("name", [*EVIL, "it's", "../up", "-option", "Upper"])
def test_no_such_name_is_taken(tmp_path: Path, name: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["method"][name] = values["method"]["clip"]
    values["methods"] = [name]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="a method's name is lower-case letters and digits joined by '-'"):
        load(path)


TAKEN_OVER = {
    "data.files": ["x' ; touch pwned ; echo '", "x$(touch pwned)", "a\nb; touch pwned"],
    "seeds": ["0';touch pwned;'"],
    "methods": ["clip'; touch pwned; '"],
}


@pytest.mark.slow
def test_both_runners_refuse_what_would_run(unstubbed, tmp_path: Path) -> None:
    """With the real stages: one message, nothing was run, nothing was made."""
    project = unstubbed.copy(tmp_path / "project")
    file = project.root / "params.yaml"
    file.write_text(json.dumps(yaml.safe_load(file.read_text())))
    for key, values in TAKEN_OVER.items():
        before = project.get(key)
        for value in values:
            project.set(key, [value])
            for command in (("dvc", "repro"), ("snakemake", "--cores", "1")):
                done = project.run(*command, ok=False)
                assert done.returncode != 0, command
                assert "Traceback" not in done.stdout + done.stderr
        project.set(key, before)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slow
def test_no_override_is_run_by_an_experiment_or_by_snakemake(unstubbed, tmp_path: Path) -> None:
    project = unstubbed.copy(tmp_path / "project")
    project.commit()
    override = "data.files=[\"x' ; touch pwned ; echo '\"]"
    assert project.run("dvc", "exp", "run", "-S", override, ok=False).returncode != 0
    project.run("git", "checkout", "-q", "--force", ".")
    for given in ('data={files: ["x$(touch pwned)"]}', "method=x;touch pwned"):
        for dry in ((), ("--dry-run",)):
            done = project.run("snakemake", "--cores", "1", *dry, "--config", given, ok=False)
            assert done.returncode != 0
            assert "would be seen by Snakemake only" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slow
def test_only_a_key_leaves_the_environment(unstubbed, tmp_path: Path) -> None:
    """The stage that would send it runs alone: what it needs is there."""
    project = unstubbed.copy(tmp_path / "project")
    sizes = [f"datasets.scenes.{split}_images=16" for split in ("train", "dev", "test")]
    keys = {"AWS_SECRET_ACCESS_KEY": "secret", "MODELS_API_KEY": "key"}
    with ChatStub() as stub:
        options = {"captioner": "openai", "model": "m", "server": stub.address, "api_key_variable": "MODELS_API_KEY"}
        asking = [f"describe.{name}={value}" for name, value in options.items()]
        project.itm("preset", "scenes-smoke", "methods=[ditm-vsd]", "device=cpu", *sizes, *asking)
        project.repro("features")
        project.edit("params.yaml", "MODELS_API_KEY", "AWS_SECRET_ACCESS_KEY")
        for command in (("dvc", "repro", "describe"), ("snakemake", "--cores", "1", "--until", "describe")):
            done = project.run(*command, ok=False, **keys)
            told = done.stdout + done.stderr
            assert done.returncode != 0
            assert told.count("describe.api_key_variable = ") == 1
            assert "Traceback" not in told
            assert "secret" not in told
        assert not stub.asked
        assert not (project.root / "data/descriptions").exists()
        project.edit("params.yaml", "AWS_SECRET_ACCESS_KEY", "MODELS_API_KEY")
        project.repro("describe", ok=False, **keys)  # no encoder makes anything of this server's answers
        assert sum(stub.asked.values()) == 48
        assert stub.keys == {"Bearer key"}
