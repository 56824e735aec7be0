"""README.md beside this file: every kind of fault with doors and tests that exist, and cases that no report told of."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import itm
from itm.cli import resolve

TESTS = Path(__file__).parents[1]
PAGE = (TESTS / "hostile/README.md").read_text(encoding="utf-8")
STAGES = yaml.safe_load((TESTS.parent / "dvc.yaml").read_text())["stages"]
HEAD = ["source", "input", "door", "what comes", "test"]


def test_every_kind_has_its_tests() -> None:
    parts = re.split(r"^## ", PAGE, flags=re.M)[1:]
    assert [part[0] for part in parts] == list("ABCDEFGHIJKLMNOPQRSTUVW")
    for part in parts:
        head, _, *rows = (line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|"))
        assert head == HEAD
        assert sum(source == "own" for source, *_ in rows) >= 2, part[:40]
        for row in rows:
            assert len(row) == len(HEAD), row
            assert all(row), row
            found = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row[-1])
            assert len(found) == row[-1].count("`") / 2 > 0, row
            for file, name in found:
                assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), (file, name)


def test_every_door_is_there() -> None:
    makefile = (TESTS.parent / "Makefile").read_text()
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    for row in rows:
        doors = re.findall("`(.+?)`", row[HEAD.index("door")])
        assert doors or row == HEAD, row
        for door in doors:
            tool, *words = door.split()
            match tool:
                case "itm":
                    resolve(words)
                case "make":
                    assert f"\n{words[0]}:" in makefile, door
                case "dvc":
                    assert words[0] == "exp" or set(words[1:]) <= STAGES.keys(), door
                case "git" | "snakemake" | "python":
                    assert all((TESTS.parent / word).exists() for word in words if "/" in word), door
                case _:
                    assert callable(getattr(itm, tool.removeprefix("itm."))), door


def test_every_file_of_this_folder_is_named() -> None:
    names = {path.name for path in (TESTS / "hostile").glob("test_*.py")}
    assert [name for name in sorted(names) if name not in PAGE] == []
