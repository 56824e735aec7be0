"""`snakemake --lint` with a stated allow-list: `python workflow/lint.py`; status 1 on any other finding.

An allowed finding that no longer occurs is reported too, so that the list does not outlive its reasons.
"""

from __future__ import annotations

import re
import subprocess
import sys

ALLOWED = {
    "Specify a conda environment or container for each rule.": (
        "one locked environment (requirements.lock) serves both runners; DVC would not use a rule's own"
    ),
}


def findings(report: str) -> dict[str, list[str]]:
    """The places of each finding in the text of `snakemake --lint`.

    >>> findings('Lints for rule a (line 2, x.smk):\\n    * No log directive defined:\\n      Because.\\n')
    {'No log directive defined': ['rule a (line 2, x.smk)']}
    """
    found: dict[str, list[str]] = {}
    place = ""
    for line in report.splitlines():
        if heading := re.fullmatch(r"Lints for (.*):", line):
            place = heading[1]
        elif finding := re.fullmatch(r"    \* (.*?):", line):
            found.setdefault(finding[1], []).append(place)
    return found


def main() -> int:
    """Lint the workflow in the present folder; returns the exit status."""
    done = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False)
    found = findings(done.stderr + done.stdout)
    if done.returncode and not found:
        print(done.stderr, file=sys.stderr)
        return done.returncode
    bad = {finding: places for finding, places in found.items() if finding not in ALLOWED}
    for finding, places in bad.items():
        print(f"{finding}\n  " + "\n  ".join(places))
    unused = [finding for finding in ALLOWED if finding not in found]
    for finding in unused:
        print(f"allowed in workflow/lint.py, but no longer found: {finding}")
    return int(bool(bad or unused))


if __name__ == "__main__":
    sys.exit(main())
