"""What is locked, audited: hashes and versions always, known vulnerabilities where their list can be reached.

    python .ci/audit.py

Without the network the list of vulnerabilities is left out, and the output says so; all else is checked nevertheless.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities that do not touch this project, by id, with the reason."""


def locked(text: str) -> dict[str, tuple[str, bool]]:
    """Version, and whether there is a hash, of each package of a lock file."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;\\\n]+)", entry):
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = (match[2], "--hash=sha256:" in entry)
        elif entry.strip() and not entry.startswith("#"):
            found[entry.splitlines()[0]] = ("", False)
    return found


def faults_of_lock(packages: dict[str, tuple[str, bool]]) -> list[str]:
    """Packages without a hash or a version, and those installed in another version or not at all."""
    faults = [f"{name}: not pinned by version and hash" for name, (version, hashed) in packages.items() if not hashed]
    for name, (version, _) in packages.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "nothing"
        if version and installed != version:
            faults.append(f"{name}: {version} is locked, {installed} is installed")
    return faults


def vulnerabilities() -> tuple[list[str], int]:
    """Known vulnerabilities of locked packages that are not accepted, and how many packages could be looked up."""
    command = ["pip-audit", "-r", str(LOCK), "--disable-pip", "--no-deps", "--timeout", "5", "-f", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=600)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], 0
    known = [package for package in packages if "vulns" in package]
    return [
        f"{package['name']} {package['version']}: {each['id']}, mended in {', '.join(each['fix_versions']) or 'none'}"
        for package in known
        for each in package["vulns"]
        if each["id"] not in ACCEPTED
    ], len(known)


def main() -> int:
    """Exit status: 1 if anything is wrong."""
    packages = locked(LOCK.read_text(encoding="utf-8"))
    faults = faults_of_lock(packages)
    found, asked = vulnerabilities()
    print(f"{len(packages)} packages locked, {len(faults)} of them without a hash or not as installed")
    print(
        f"{asked} looked up, {len(found)} known vulnerabilities"
        if asked
        else "vulnerabilities: not looked up, their list cannot be reached from here"
    )
    for line in faults + found:
        print(f"  {line}", file=sys.stderr)
    return 1 if faults or found or not packages else 0


if __name__ == "__main__":
    sys.exit(main())
