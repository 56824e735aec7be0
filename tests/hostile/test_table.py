"""README.md beside this file: every kind of fault with tests that exist, and two cases that no report told of."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_kind_has_its_tests() -> None:
    parts = re.split(r"^## ", (TESTS / "hostile/README.md").read_text(encoding="utf-8"), flags=re.M)[1:]
    assert [part[0] for part in parts] == list("ABCDEFGHIJKLMNO")
    for part in parts:
        rows = [line.strip("| ").split(" | ") for line in part.splitlines()[4:] if line.startswith("|")]
        assert sum(source == "own" for source, *_ in rows) >= 2, part[:40]
        for *_, tests in rows:
            found = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
            assert found, tests
            for file, name in found:
                assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), (file, name)
