"""Where what is installed comes from, and under which licence."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def licences():
    spec = importlib.util.spec_from_file_location("licences", ROOT / ".ci/licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uv_is_pinned_by_version_and_hashes():
    assert re.fullmatch(
        r"uv==\S+ \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+( +#.*\n)*", (ROOT / ".ci/uv.txt").read_text()
    )


def test_what_is_built_from_source_is_built_with_locked_tools():
    syncs = re.findall(r"pip sync .*", (ROOT / "Makefile").read_text())
    assert syncs
    assert all("--require-hashes --build-constraints requirements.lock" in sync for sync in syncs)
    assert re.search(r"^setuptools==\S+ \\\n +--hash=sha256:", LOCK, re.M)


def test_every_package_has_its_licence_and_its_line_in_the_bill_of_materials(licences, tmp_path):
    command = [sys.executable, ROOT / ".ci/licences.py", tmp_path / "sbom.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == len(licences.locked(LOCK)) > 200
    assert re.findall(r"^(\S+) .*: not stated$", done.stdout, re.M) == ["cuda-toolkit"]
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert {part["name"]: part["version"] for part in bill["components"]} == licences.locked(LOCK)
    (torch,) = [part for part in bill["components"] if part["name"] == "torch"]
    assert torch["purl"].startswith("pkg:pypi/torch@")
    assert torch["licenses"]


@pytest.mark.parametrize("kind", ["GPL-3.0-only", "GNU Affero General Public License v3", "MIT OR AGPL-3.0"])
def test_an_unexpected_gpl_is_a_fault_and_so_is_a_reason_without_one(licences, kind):
    known = dict.fromkeys(licences.EXPECTED, "GPL")
    assert licences.unexpected(known | {"numpy": "BSD-3-Clause"}) == []
    assert licences.unexpected(known | {"new": kind}) == [f"new: {kind}; drop it, or say in EXPECTED why not"]
    assert licences.unexpected(known | {"pygit2": "MIT"}) == ["pygit2: no GPL, drop it from EXPECTED"]


def test_packages_with_weights_have_their_terms_written_down():
    """Pinned exactly, which nothing but weights and torch is."""
    pinned = re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.in").read_text(), re.M)
    page = (ROOT / "data/README.md").read_text()
    weights = [(name, version) for name, version in pinned if not name.startswith("torch")]
    assert len(weights) == 2
    for name, version in weights:
        assert f"| `{name}` {version} |" in page
