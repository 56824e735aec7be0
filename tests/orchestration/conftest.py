"""Temporary projects (see ../pipeline_project.py), made once for all workers and copied by each test."""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from pipeline_project import Project, stand_in, unstubbed_project

Once = Callable[[str, Callable[[Path], object]], Project]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """`once(name, make)`: the project that the first worker to ask made in a folder. Copy it; do not run in it."""
    own = tmp_path_factory.getbasetemp()
    common = (own if worker_id == "master" else own.parent) / "projects"
    common.mkdir(exist_ok=True)

    def once(name: str, make: Callable[[Path], object]) -> Project:
        done = common / f"{name}.done"
        with FileLock(common / f"{name}.lock"):
            if not done.exists():
                make(common / name)
                done.touch()
        return Project(common / name, quick=True)

    return once


@pytest.fixture(scope="session")
def unstubbed(once: Once) -> Project:
    """This repository's pipeline in a folder of its own, with its real stages and without data."""
    return once("unstubbed", lambda root: unstubbed_project(root, quick=True))


@pytest.fixture(scope="session")
def blank(once: Once, unstubbed: Project) -> Project:
    """A project whose stages never ran."""
    return once("blank", lambda root: stand_in(unstubbed, root))


@pytest.fixture(scope="session")
def reproduced(once: Once, blank: Project) -> Project:
    """A project that `dvc repro` brought up to date, then `sync`."""

    def make(root: Path) -> None:
        project = blank.copy(root)
        project.repro()
        project.sync()
        project.ran()

    return once("reproduced", make)


@pytest.fixture(scope="session")
def snaked(once: Once, blank: Project) -> Project:
    """A project that Snakemake brought up to date."""

    def make(root: Path) -> None:
        project = blank.copy(root)
        project.snakemake("--cores", "4")
        project.ran()

    return once("snaked", make)


@pytest.fixture(scope="session")
def rates(once: Once, reproduced: Project) -> Project:
    """Results of three learning rates: a tag has the first, the branch `faster` the second, and the third is here."""

    def make(root: Path) -> None:
        project = reproduced.copy(root)
        project.commit()
        project.run("git", "tag", "first")
        project.run("git", "checkout", "-q", "-b", "faster")
        for rate in (0.002, 0.003):
            project.set("train.learning_rate", rate)
            project.repro()
            if rate == 0.002:
                project.commit()
        project.ran()

    return once("rates", make)


@pytest.fixture(scope="session")
def real(once: Once, unstubbed: Project) -> Project:
    """A project that `dvc repro` brought up to date with the real stages, on small data; committed."""
    parameters = ["methods=[ditm]", "train.epochs=1", "device=cpu"]
    sizes = [f"datasets.scenes.{split}_images={count}" for split, count in (("train", 64), ("dev", 16), ("test", 16))]

    def make(root: Path) -> None:
        project = unstubbed.copy(root)
        project.itm("preset", "scenes-smoke", *parameters, *sizes)
        project.repro()
        project.commit()

    return once("real", make)


@pytest.fixture
def fresh(blank: Project, tmp_path: Path) -> Project:
    """A project of its own whose stages never ran."""
    return blank.copy(tmp_path / "project")


@pytest.fixture
def by_dvc(reproduced: Project, tmp_path: Path) -> Project:
    """A project of its own that `dvc repro` and `sync` brought up to date."""
    return reproduced.copy(tmp_path / "by-dvc")


@pytest.fixture
def by_snakemake(snaked: Project, tmp_path: Path) -> Project:
    """A project of its own that Snakemake brought up to date."""
    return snaked.copy(tmp_path / "by-snakemake")
