"""The audit of the lock file sees what it is there for."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
HASH = "    --hash=sha256:" + "0" * 64


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci/audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lock_is_read_whole(audit: ModuleType) -> None:
    text = (ROOT / "requirements.lock").read_text()
    packages = audit.locked(text)
    assert len(packages) == text.count("==") > 200
    assert packages["torch"][1]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("numpy==0.0.1 \\\n" + HASH, "numpy: 0.0.1 is locked, "),
        ("numpy==0.0.1", "numpy: not pinned by version and hash"),
        ("numpy>=1", "numpy>=1: not pinned by version and hash"),
        ("no-such-package==1 \\\n" + HASH, "no-such-package: 1 is locked, nothing is installed"),
    ],
)
def test_faults(audit: ModuleType, entry: str, fault: str) -> None:
    found = audit.faults_of_lock(audit.locked(entry + "\n    # via torch\n"))
    assert found[0].startswith(fault)


def test_vulnerabilities_are_told(audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(
        '#!/bin/sh\necho \'{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": '
        '["2"]}]}, {"name": "b", "version": "1", "vulns": []}, {"name": "c", "skip_reason": "not found"}]}\'\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert audit.vulnerabilities() == (["a 1: X-1, mended in 2"], 2)
    program.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    assert audit.vulnerabilities() == ([], 0)
