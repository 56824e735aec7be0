"""What is locked, audited: hashes, versions, known vulnerabilities.

    python .ci/audit.py          # 1: something is wrong; 2: nothing is, but vulnerabilities could not be looked up
    python .ci/audit.py --take   # keep today's answers in .ci/advisories.json

Where the list of advisories cannot be reached, the answers kept for the same versions count, and their age is told.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
KEPT = ROOT / ".ci/advisories.json"
OLD = 30
"""Days after which the answers kept are called old; they count nevertheless, or CI would fail by the calendar."""
Answers = dict[str, dict[str, Any]]
"""For each package its version, and the versions that mend each vulnerability, by its id."""
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities that do not touch this project, by id, with the reason."""


def locked(text: str) -> dict[str, tuple[str, bool]]:
    """Version, and whether there is a hash, of each package of a lock file that belongs onto this platform."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;\\\n]+)(?: ; ([^\\\n]+))?", entry):
            if match[3] and not Marker(match[3].strip()).evaluate():
                continue
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


def looked_up(versions: dict[str, str]) -> Answers:
    """What the list of advisories answers, for the locked packages that it could be asked about."""
    command = ["pip-audit", "-r", str(LOCK), "--disable-pip", "--no-deps", "--timeout", "5", "-f", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=600)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return {}
    return {
        package["name"]: {
            "version": package["version"],
            "vulnerabilities": {each["id"]: each["fix_versions"] for each in package["vulns"]},
        }
        for package in packages
        if "vulns" in package and versions.get(package["name"]) == package["version"]
    }


def kept(versions: dict[str, str], today: date) -> tuple[Answers, str]:
    """The answers in KEPT that are about the locked versions, and a word about their age."""
    if not KEPT.exists():
        return {}, f"{KEPT.name} is not there"
    stored = json.loads(KEPT.read_text(encoding="utf-8"))
    days = (today - date.fromisoformat(stored["taken"])).days
    answers = {name: found for name, found in stored["packages"].items() if versions.get(name) == found["version"]}
    return answers, f"{KEPT.name} is {days} days old" + (": take it anew" if days > OLD else "")


def vulnerable(answers: Answers) -> list[str]:
    """Known vulnerabilities that are not accepted."""
    return [
        f"{name} {found['version']}: {number}, mended in {', '.join(mended) or 'none'}"
        for name, found in answers.items()
        for number, mended in found["vulnerabilities"].items()
        if number not in ACCEPTED
    ]


def main(arguments: list[str]) -> int:
    """Exit status: 1 if anything is wrong, 2 if only the vulnerabilities of some packages are not known."""
    packages = locked(LOCK.read_text(encoding="utf-8"))
    versions = {name: version for name, (version, _) in packages.items()}
    today = datetime.now(UTC).date()
    answers = looked_up(versions)
    if arguments == ["--take"]:
        if set(versions) - set(answers):
            print(
                f"{len(set(versions) - set(answers))} packages could not be looked up; nothing taken", file=sys.stderr
            )
            return 2
        KEPT.write_text(json.dumps({"taken": str(today), "packages": answers}, indent=1, sort_keys=True) + "\n")
        return 0
    faults = faults_of_lock(packages)
    print(f"{len(packages)} packages locked, {len(faults)} of them without a hash or not as installed")
    print(f"{len(answers)} looked up")
    if set(versions) - set(answers):
        older, word = kept(versions, today)
        answers = {**older, **answers}
        print(
            f"the list of advisories could not be asked about all; {word}, and has {len(older)} of the locked versions"
        )
    unknown = sorted(set(versions) - set(answers))
    faults += vulnerable(answers)
    for line in faults:
        print(f"  {line}", file=sys.stderr)
    if unknown:
        print(
            f"not known: the vulnerabilities of {len(unknown)} packages ({', '.join(unknown[:3])}, ...). Where "
            f"their list can be reached, run `python .ci/audit.py --take` and commit .ci/{KEPT.name}",
            file=sys.stderr,
        )
    return 1 if faults or not packages else 2 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
