"""Every command that a page of docs/results quotes would be accepted; elsewhere every command of a benchmark."""

import sys
from pathlib import Path

import pytest

# the importlib mode of pytest leaves this folder out of the path
sys.path.append(str(Path(__file__).parent))

from quoted import ROOT, fault, quoted

RESULTS = sorted((ROOT / "docs/results").glob("*.md"))
OTHERS = [page for folder in ("", "docs", "data", "benchmarks/remarks") for page in (ROOT / folder).glob("*.md")]


def faults(commands):
    return {command: found for command in commands if (found := fault(command))}


@pytest.mark.slow
@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.stem)
def test_commands_of_a_result_parse(page):
    assert faults(quoted(page.read_text())) == {}


@pytest.mark.slow
def test_commands_of_benchmarks_parse_on_every_other_page():
    found = {command for page in OTHERS for command in quoted(page.read_text()) if "python benchmarks/" in command}
    assert found
    assert faults(found) == {}


def test_commands_are_found_in_blocks_spans_and_tables():
    text = """
Made by `python benchmarks/idle.py`, not by `ditm` or `snakemake -n`; the `itm sync` of

```
chrt -r 1 python benchmarks/image_loader.py --images 1
a line of a log: make it so
```
```python
make = "python"
```
| the same | `pytest -m long tests/chaos`, `make test` |
"""
    assert quoted(text) == [
        "chrt -r 1 python benchmarks/image_loader.py --images 1",
        "python benchmarks/idle.py",
        "itm sync",
        "pytest -m long tests/chaos",
        "make test",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "python benchmarks/lockfile.py --sizes 3 --page docs/results/lockfile.md",
        'itm preset scenes \'methods=["clip","vse"]\' seeds=[0,1] && dvc repro',
        "pytest -m long tests/chaos tests/project/test_make.py::test_help_explains_every_target",
        "make test JOBS=2",
        ".ci/run lint tests",
        "python -m tests.chaos --page PAGE",
    ],
)
def test_a_right_command_passes(command):
    assert fault(command) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python benchmarks/nothing.py", "no script benchmarks/nothing.py"),
        ("python benchmarks/lockfile.py --nothing", "unrecognized arguments: --nothing"),
        ("OMP_NUM_THREADS=1 python benchmarks/lockfile.py --repeat many", "invalid int value: 'many'"),
        ("python -m tests.nothing", "no module tests.nothing"),
        ("itm nothing", "no command itm nothing"),
        ("itm preset nothing && dvc repro", "no preset 'nothing'"),
        ("itm preset scenes train.nothing=1", "train.nothing: unknown parameter"),
        ("itm sync; itm preset scenes 'methods=[\"nothing\"]'", "nothing"),
        ("pytest -m long tests/nothing", "no tests tests/nothing"),
        ("make nothing", "no target nothing"),
        (".ci/run nothing", "no step nothing"),
        (".ci/run begin", "no step begin"),
    ],
)
def test_a_wrong_command_is_caught(command, said):
    assert said in fault(command)
