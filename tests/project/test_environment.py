"""The environment is stated once: conda's file and the lock agree with what the project asks for."""

import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
ENTRIES = re.findall(
    r"^([A-Za-z0-9_.-]+)==(\S+)(?: ; (.+?))? \\$", (ROOT / "requirements.lock").read_text(), re.MULTILINE
)
LOCKED = {canonicalize_name(name): number for name, number, _ in ENTRIES}
HERE = {canonicalize_name(name) for name, _, marker in ENTRIES if not marker or Marker(marker).evaluate()}
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
    differing = {name: version(name) for name in HERE if version(name).split("+")[0] != LOCKED[name].split("+")[0]}
    assert differing == {}, "run `make environment`"


@pytest.mark.parametrize("platform", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")])
@pytest.mark.parametrize("number", ["3.11", "3.12", "3.13"])
def test_the_lock_is_for_every_platform(platform, number):
    system, machine = platform
    where = {"sys_platform": system, "platform_machine": machine, "python_full_version": f"{number}.0"}
    where |= {"python_version": number, "platform_system": system.capitalize()}
    named = {name for name, _, marker in ENTRIES if not marker or Marker(marker).evaluate(where)}
    assert {"torch", "dvc", "snakemake", "open-clip-torch"} <= named
    assert any(name.startswith("nvidia-cu") for name in named) == (system == "linux")


def test_the_environment_without_cuda_is_the_lock_but_for_torch(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".tools").mkdir()
    command = ["make", "--dry-run", "environment", "TORCH=cpu", "UV=uv", "PYTHON=python3"]
    plan = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (cut,) = [line for line in plan.splitlines() if line.startswith("awk ")]
    subprocess.run(["/bin/sh", "-c", cut], cwd=tmp_path, check=True)
    left = re.findall(r"^([A-Za-z0-9_.-]+)==", (tmp_path / ".tools/cpu.lock").read_text(), re.MULTILINE)
    assert {"torch", "torchvision", "triton"} <= LOCKED.keys() - {canonicalize_name(name) for name in left}
    assert not [name for name in left if name.startswith("nvidia")]
    assert len(left) > 200
    assert "--torch-backend cpu" in plan
