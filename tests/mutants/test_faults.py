"""The list of planted faults is of this code: `python tests/mutants` tries whether the tests notice them."""

import ast
from pathlib import Path

import pytest
from mutants.__main__ import ROOT, Fault, as_table, read_faults
from ruamel.yaml import YAML

FAULTS = read_faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.number))
def test_a_fault_is_one_edit_that_changes_what_the_file_says(fault: Fault) -> None:
    text = (ROOT / fault.file).read_text()
    planted = fault.planted_in(text)
    if fault.file.endswith(".py"):
        assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))
    else:
        assert YAML(typ="safe").load(planted) != YAML(typ="safe").load(text)


def test_the_tests_that_catch_them_exist() -> None:
    named = {word.split("::")[0] for fault in FAULTS for word in fault.tests if "/" in word}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert all(any("/" in word for word in fault.tests) for fault in FAULTS)


def test_every_package_has_a_fault_and_none_comes_twice() -> None:
    parts = {
        path.stem
        for path in (ROOT / "src/itm").iterdir()
        if path.suffix in ("", ".py") and not path.stem.startswith("_")
    }
    assert parts - {Path(fault.file).parts[2].removesuffix(".py") for fault in FAULTS if "src" in fault.file} == set()
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS) >= 40


def test_a_place_that_is_gone_or_not_the_only_one_is_told() -> None:
    fault = FAULTS[0]
    with pytest.raises(ValueError, match="0 times, not once"):
        fault.planted_in("")
    with pytest.raises(ValueError, match="2 times, not once"):
        fault.planted_in(fault.old * 2)


def test_the_table_has_a_row_a_fault() -> None:
    assert len(as_table(FAULTS).splitlines()) == len(FAULTS) + 2
