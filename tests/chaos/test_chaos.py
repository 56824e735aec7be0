"""A run that is disturbed, and then run again, ends with the same results as one that is not.

ITM_CHAOS_SEED and ITM_CHAOS_FAULTS choose other faults, and more; `python -m tests.chaos` prints them as a table.
"""

import os
from pathlib import Path

import pytest
from chaos.faults import FAULTS, Case, Skip, disturb, plan, table
from chaos.project import STAGES, prepare

SEED = int(os.environ.get("ITM_CHAOS_SEED", "0"))
COUNT = int(os.environ.get("ITM_CHAOS_FAULTS", "39"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("chaos") / "bases")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.xdist_group("chaos")
@pytest.mark.parametrize("case", plan(COUNT, SEED), ids=lambda case: case.name)
def test_the_next_run_repairs_or_says_what_to_do(case: Case, bases, tmp_path: Path) -> None:
    try:
        row = disturb(case, bases, tmp_path / "project")
    except Skip as reason:
        pytest.skip(str(reason))
    assert row.equal, table([row], {})


def test_the_plan_holds_every_fault_and_every_stage_and_is_the_same_for_the_same_seed() -> None:
    cases = plan(39, 0)
    assert {case.fault for case in cases} == set(FAULTS)
    assert {case.stage for case in cases} == {*STAGES, "all"}
    assert {case.runner for case in cases if case.fault == "stage killed"} == {"dvc", "snakemake"}
    assert [case.name for case in cases] == [case.name for case in plan(39, 0)]
    assert [case.name for case in cases] != [case.name for case in plan(39, 1)]
    assert len(plan(60, 0)) == 60
