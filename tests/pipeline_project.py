"""Temporary projects that run the real dvc and the real snakemake on this repository's dvc.yaml and rules.

Only the work inside the stages is replaced (stub.py), so a pipeline of 14 jobs takes seconds.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import warm

from itm.pipeline.dag import read_pipeline

ROOT = Path(__file__).parents[1]
STUB = ROOT / "tests/orchestration/stub.py"


def written(root: Path, *names: str) -> dict[str, bytes]:
    """The files below some folders of a project, and some of its files, by path."""
    places = [place for name in names for place in [root / name, *(root / name).rglob("*")]]
    return {str(file.relative_to(root)): file.read_bytes() for file in places if file.is_file()}


class Project:
    """A project in a folder of its own; its commands are the real ones, or quick forks (see warm.py)."""

    def __init__(self, root: Path, quick: bool = False) -> None:
        self.root = root
        self.quick = quick
        commands = [warm.commands()] if quick else []
        self.environment = {
            # with byte code: else each of hundreds of processes would compile its modules again
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PATH": os.pathsep.join([*commands, str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": "src",
            "DVC_SITE_CACHE_DIR": str(root / ".dvc/tmp/site"),
        }

    def run(self, *command: str, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment | environment, capture_output=True, text=True, timeout=900
        )
        if ok:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def repro(self, *arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", "repro", *arguments, **kwargs)

    def snakemake(self, *arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
        return self.run("snakemake", "--cores", "2", *arguments, **kwargs)

    def sync(self, **kwargs) -> subprocess.CompletedProcess[str]:
        return self.itm("sync", **kwargs)

    def itm(self, *arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
        """An `itm` command of the project's own code."""
        return self.run("python", "-m", "itm.cli", *arguments, **kwargs)

    @contextmanager
    def waiting(self, job: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs until a job of the stand-in has begun, and goes on when this context ends.

        It may be at work in an experiment's copy of the project.
        """
        go = self.root / "logs/go"
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment | {"STUB_WAIT": f"{job} {go}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        copies = ".dvc/tmp/exps/standalone/*/logs/ran.txt"
        while not any(job in ran.read_text().split() for ran in [self.root / "logs/ran.txt", *self.root.glob(copies)]):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        try:
            yield process
        finally:
            go.touch()

    def dvc_status(self) -> dict:
        return json.loads(self.run("dvc", "status", "--json").stdout)

    def nothing_to_do(self) -> bool:
        """Whether Snakemake considers everything up to date."""
        done = self.run("snakemake", "-n")
        return "Nothing to be done" in done.stdout + done.stderr

    def ran(self) -> list[str]:
        """The jobs that ran since the last call, sorted."""
        file = self.root / "logs/ran.txt"
        names = sorted(file.read_text().splitlines())
        file.write_text("")
        return names

    def commit(self) -> None:
        """Commit everything to git."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "test")

    def clone(self, root: Path) -> "Project":
        """What git alone keeps, elsewhere."""
        self.run("git", "clone", "-q", ".", str(root))
        (root / "logs").mkdir()
        (root / "logs/ran.txt").touch()
        return Project(root, self.quick)

    def logs(self) -> str:
        return "\n".join(f"== {log}\n{log.read_text()}" for log in sorted((self.root / "logs").rglob("*.log")))

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def edit(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert text.count(old) >= 1, f"{path} holds no {old!r}"
        (self.root / path).write_text(text.replace(old, new))

    def append(self, path: str, text: str) -> None:
        with (self.root / path).open("a") as file:
            file.write(text)

    def get(self, key: str) -> Any:
        """One parameter."""
        value = json.loads(self.read("params.yaml"))
        for part in key.split("."):
            value = value[part]
        return value

    def set(self, key: str, value: object) -> None:
        """Change one parameter."""
        parameters = json.loads(self.read("params.yaml"))
        *sections, last = key.split(".")
        place = parameters
        for section in sections:
            place = place[section]
        assert last in place
        place[last] = value
        (self.root / "params.yaml").write_text(json.dumps(parameters, indent=2))

    def results(self) -> dict[str, str]:
        """What the runs left behind, apart from logs and the runners' own files."""
        names = ("data", "models", "embeddings", "evaluations", "provenance", "results", "report.md", "report.html")
        return {path: content.decode() for path, content in written(self.root, *names).items()}

    def copy(self, root: Path, quick: bool | None = None) -> "Project":
        """The same project elsewhere, file times kept; its commands are of the same kind unless said."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root, self.quick if quick is None else quick)


def unstubbed_project(root: Path, quick: bool = False) -> Project:
    """This repository's pipeline in a new folder, with its real stages and without data."""
    project = Project(root, quick)
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    for name in ("workflow", "conf", "src", "data/subsets", "data/regions"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "data/catalogue.yaml", root / "data")
    (root / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", root / ".dvc/config")
    (root / "logs").mkdir()
    (root / "logs/ran.txt").touch()
    project.itm("preset", "scenes")  # whatever params.yaml says at present
    project.run("git", "init", "-q")
    return project


def stand_in(unstubbed: Project, root: Path, methods: tuple[str, ...] = ("clip", "ditm")) -> Project:
    """The same with a stand-in for the work of every stage, in a new folder, of one benchmark."""
    project = unstubbed.copy(root)
    project.edit("dvc.yaml", "python -m itm.stages", "python -m stub")
    # of a stage's code its own module and whole packages: DVC writes all of dvc.lock anew after each stage, which with
    # every module takes longer than the stand-in
    code = re.compile(r"^      - src/itm/(?!stages/).*\.py\n", re.M)
    (root / "dvc.yaml").write_text(code.sub("", project.read("dvc.yaml")))

    from ruamel.yaml import YAML

    parameters = YAML(typ="safe").load(root / "params.yaml")
    parameters |= {"methods": list(methods), "benchmarks": ["retrieval"], "device": "cpu"}
    (root / "params.yaml").write_text(json.dumps(parameters, indent=2))
    stages = YAML(typ="safe").load(root / "dvc.yaml")["stages"]

    (root / "src/stub").mkdir()
    pipeline = read_pipeline(root)
    facts = {}
    for name, stage in pipeline.stages.items():
        shutil.copy(STUB, root / f"src/stub/{name}.py")
        keys = [key for key in stages[name]["params"] if isinstance(key, str)]
        facts[name] = {
            "axes": stage.axes,
            "params": [key.replace("${item.", "{").replace("${data.name}", "scenes") for key in keys],
            "data": [path for path in stage.inputs if not path.startswith("src/")],
            "outs": stage.outputs,
        }
    (root / "stub.json").write_text(json.dumps(facts, indent=2))
    project.commit()
    return project
