"""Run `snakemake --lint` and stop at every finding that is not allowed below, with the reason why it is."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch

# (where, finding, why it is allowed); patterns in shell style
ALLOWED = [
    (
        "rule *",
        "Specify a conda environment or container for each rule*",
        "one hash-locked environment (requirements.lock) serves every rule and both runners",
    ),
    ("rule stage", "No log directive defined*", "the rule that others are made from; each of them names its log"),
    ("snakefile *common.smk", "Environment variable PATH*", "the environment's own programs are put first on PATH"),
]


def findings(text: str) -> list[tuple[str, str]]:
    """Pairs of (where, finding) in the text that `snakemake --lint` prints."""
    found, where = [], ""
    for line in text.splitlines():
        if heading := re.match(r"Lints for ((?:rule|snakefile) [^ :]+)", line):
            where = heading[1]
        elif item := re.match(r" {4}\* (.*)", line):
            found.append((where, item[1].rstrip(":.")))
    return found


def main() -> int:
    """Print what is not allowed; 1 when there is any, or when the lint itself failed."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False, timeout=120
    )
    found = findings(done.stderr + done.stdout)
    if done.returncode and not found:
        print(done.stderr + done.stdout, file=sys.stderr)
        return 1
    refused = [
        (where, finding)
        for where, finding in found
        if not any(fnmatch(where, place) and fnmatch(finding, text) for place, text, _ in ALLOWED)
    ]
    for where, finding in refused:
        print(f"{where}: {finding}", file=sys.stderr)
    print(f"snakemake --lint: {len(found) - len(refused)} allowed, {len(refused)} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
