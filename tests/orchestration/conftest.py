"""Temporary projects (see ../pipeline_project.py), made once a session and copied by each test."""

from pathlib import Path

import pytest
from pipeline_project import Project, stand_in, unstubbed_project


@pytest.fixture(scope="session")
def unstubbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This repository's pipeline in a folder of its own, with its real stages and without data. Copy it."""
    return unstubbed_project(tmp_path_factory.mktemp("orchestration") / "unstubbed")


@pytest.fixture(scope="session")
def blank(unstubbed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose stages never ran. Copy it; do not run in it."""
    return stand_in(unstubbed, tmp_path_factory.mktemp("orchestration") / "blank")


@pytest.fixture(scope="session")
def reproduced(blank: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that `dvc repro` brought up to date, then `sync`. Copy it; do not run in it."""
    project = blank.copy(tmp_path_factory.mktemp("orchestration") / "reproduced")
    project.repro()
    project.sync()
    project.ran()
    return project


@pytest.fixture(scope="session")
def snaked(blank: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that Snakemake brought up to date. Copy it; do not run in it."""
    project = blank.copy(tmp_path_factory.mktemp("orchestration") / "snaked")
    project.snakemake("--cores", "4")
    return project


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
