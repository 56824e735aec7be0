"""The audit of the lock file sees what it is there for."""

import importlib.util
import re
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
    assert len(re.findall(r"^[A-Za-z0-9._-]+==", text, re.M)) >= len(packages) > 200
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


ANSWERS = """#!/bin/sh
echo '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]},
{"name": "b", "version": "1", "vulns": []}, {"name": "c", "skip_reason": "not found"}]}'
exit 1
"""
NETLESS = "#!/bin/sh\necho no network >&2\nexit 1\n"
LOCKS = {name: f"{name}==1 \\\n{HASH}\n" for name in "abc"}


@pytest.fixture
def told(audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The exit status and the words of an audit of some packages, by what pip-audit is."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(audit, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(audit, "KEPT", tmp_path / "advisories.json")
    monkeypatch.setattr(audit.metadata, "version", lambda name: "1")

    def run(program: str, packages: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "pip-audit").write_text(program)
        (tmp_path / "pip-audit").chmod(0o755)
        (tmp_path / "lock").write_text("".join(LOCKS[name] for name in packages))
        status = audit.main(list(arguments))
        return status, "".join(capsys.readouterr())

    return run


def test_vulnerabilities_are_told(told) -> None:
    status, words = told(ANSWERS, "ab")
    assert status == 1
    assert "a 1: X-1, mended in 2" in words
    assert told(ANSWERS, "b")[0] == 0


def test_what_cannot_be_looked_up_does_not_pass(told) -> None:
    status, words = told(NETLESS, "ab")
    assert status == 2
    assert "not known: the vulnerabilities of 2 packages (a, b, ...)" in words
    assert told(ANSWERS, "bc")[0] == 2
    assert told(ANSWERS, "ac")[0] == 1, "a known fault is one, whatever else is unknown"


def test_answers_are_kept_whole_and_count_by_version_however_old(audit: ModuleType, told, tmp_path: Path) -> None:
    assert told(ANSWERS, "abc", "--take")[0] == 2
    assert not audit.KEPT.exists()
    assert told(ANSWERS, "ab", "--take")[0] == 0
    status, words = told(NETLESS, "ab")
    assert status == 1
    assert "a 1: X-1, mended in 2" in words
    assert "advisories.json is 0 days old, and has 2" in words
    audit.KEPT.write_text(audit.KEPT.read_text().replace(str(audit.datetime.now(audit.UTC).date()), "2020-01-01"))
    status, words = told(NETLESS, "b")
    assert status == 0
    assert "days old: take it anew" in words
    audit.KEPT.write_text(audit.KEPT.read_text().replace('"version": "1"', '"version": "2"'))
    assert told(NETLESS, "b")[0] == 2
