"""Licences of what is locked, from the packages' own metadata; an unexpected GPL fails.

    python .ci/licences.py [sbom.json]

With a path, a bill of materials (CycloneDX) is written there too.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.markers import Marker

LOCK = Path(__file__).parents[1] / "requirements.lock"
EXPECTED = {
    "asyncssh": "EPL-2.0 or GPL, as one chooses",
    "docutils": "public domain and BSD; GPL is an editor's file that nothing loads",
    "dulwich": "Apache-2.0 or GPL, as one chooses",
    "grandalf": "EPL-1.0 or GPL, as one chooses",
    "pygit2": "GPL with an exception: code that links to it need not be GPL",
}
"""Packages whose licence names the GPL, with the reason why they may be installed beside this project."""


def locked(text: str) -> dict[str, str]:
    """The version of each package of a lock file that belongs onto this platform."""
    entries = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)(?: ; ([^\\\n]+))?", text, re.M)
    return {name: version for name, version, marker in entries if not marker or Marker(marker.strip()).evaluate()}


def licence(package: metadata.Distribution) -> str:
    """What a package says of its licence, else the first line of its licence file."""
    said = package.metadata
    if said.get("License-Expression"):
        return said["License-Expression"]
    kinds = [kind.rpartition(" :: ")[2] for kind in said.get_all("Classifier", []) if kind.startswith("License ::")]
    lines = [line for line in (said.get("License") or "").splitlines()[:1] if line.strip() and line != "UNKNOWN"]
    found = [name for name in [*kinds, *lines] if name != "OSI Approved"]
    if not found:
        for file in package.files or ():
            if re.match(r"LICEN[CS]E", file.name, re.I):
                found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()][:1]
                break
    return "; ".join(dict.fromkeys(found)) or "not stated"


def unexpected(licences: dict[str, str]) -> list[str]:
    """Packages whose licence names the GPL without a reason here, and reasons that nothing needs."""
    named = {name for name, kind in licences.items() if re.search(r"GPL|General Public", kind)}
    return [
        *(f"{name}: {licences[name]}; drop it, or say in EXPECTED why not" for name in sorted(named - set(EXPECTED))),
        *(f"{name}: no GPL, drop it from EXPECTED" for name in sorted(set(EXPECTED) - named)),
    ]


def bill(versions: dict[str, str], licences: dict[str, str]) -> str:
    """The bill of materials as CycloneDX JSON."""
    make = LicenseFactory().make_from_string
    return JsonV1Dot6(
        Bom(
            components=[
                Component(
                    type=ComponentType.LIBRARY,
                    name=name,
                    version=version,
                    purl=PackageURL("pypi", None, name, version),
                    licenses=[make(licences[name])],
                )
                for name, version in versions.items()
            ]
        )
    ).output_as_string(indent=2)


def main(arguments: list[str]) -> int:
    """Exit status: 1 for an unexpected licence, or where the environment is not the locked one."""
    versions = locked(LOCK.read_text(encoding="utf-8"))
    try:
        licences = {name: licence(metadata.distribution(name)) for name in versions}
    except metadata.PackageNotFoundError as error:
        print(f"{error.name} is locked and not installed: run `make environment`", file=sys.stderr)
        return 1
    for name, version in versions.items():
        print(f"{name} {version}: {licences[name]}" + (f" ({EXPECTED[name]})" if name in EXPECTED else ""))
    for path in arguments:
        Path(path).write_text(bill(versions, licences) + "\n", encoding="utf-8")
    faults = unexpected(licences)
    for line in faults:
        print(f"  {line}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
