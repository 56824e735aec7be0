"""The environment is stated once: conda's file and the lock agree with what the project asks for."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
LOCKED = dict(
    (canonicalize_name(name), number)
    for name, number in re.findall(r"^([A-Za-z0-9_.-]+)==(\S+) \\$", (ROOT / "requirements.lock").read_text(), re.M)
)
WANTED = [
    Requirement(line)
    for line in (ROOT / "requirements.in").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


def conda():
    return YAML(typ="safe").load(ROOT / "environment.yml")


def test_conda_installs_the_lock_and_nothing_beside_it():
    (pip,) = [part["pip"] for part in conda()["dependencies"] if isinstance(part, dict)]
    assert pip == ["-r requirements.lock"]
    plain = {re.split("[=<>]", part)[0] for part in conda()["dependencies"] if isinstance(part, str)}
    assert plain == {"python", "pip"}, "a package from conda could differ from the locked one"


def test_conda_make_and_the_project_agree_on_python():
    (python,) = [part for part in conda()["dependencies"] if isinstance(part, str) and part.startswith("python=")]
    number = python.removeprefix("python=")
    project = (ROOT / "pyproject.toml").read_text()
    assert number in SpecifierSet(re.search(r'requires-python = "(.*)"', project)[1])
    assert f"--python-version {number} " in (ROOT / "Makefile").read_text()
    assert f"--python {number} " in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.name)
def test_the_lock_holds_what_is_asked_for(wanted):
    assert LOCKED[canonicalize_name(wanted.name)] in wanted.specifier


def test_every_locked_file_is_hashed():
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.M)[1:]
    assert len(blocks) == len(LOCKED)
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_this_environment_is_the_locked_one():
    differing = {name: version(name) for name, number in LOCKED.items() if version(name) != number}
    assert differing == {}, "run `make environment`"
