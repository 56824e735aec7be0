"""A stage of dvc.yaml declares exactly the code that can change its results: no less (stale results), no more
(a comment elsewhere would retrain every model).

What a module uses is read from its import statements, also those inside functions. Importing a package runs its
`__init__`, but only the modules that the imported names come from can matter.
"""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import grimp
import pytest
from ruamel.yaml import YAML

from itm.config import BENCHMARK_NAMES
from itm.config.parameters import loss_models, similarity_models
from itm.data.readers.base import READERS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

PLUMBING = {
    "itm.errors": "wording of faults; a result exists only where there was none",
    "itm.parse": "refuses texts, or gives the values that stand in them",
    "itm.config": "the values it hands on are tracked one by one as parameters",
    "itm.stages.harness": "command line, log and progress",
    "itm.data.files": "how bytes reach the disk, not which",
    "itm.data.layout": "file names; dvc.yaml states them again, and a wrong one stops the stage",
    "itm.data.progress": "progress bars",
    "itm.data.catalogue": "reads data/catalogue.yaml, whose entries are tracked as parameters",
    "itm.data.download": "fetched bytes count only if they have the catalogue's checksum",
    "itm.data.http": "as itm.data.download",
    "itm.pipeline": "starts and records what runs; which device computes, not what (docs/reproducing.md)",
}
"""Modules (with all below them) that no stage needs to declare, and why they cannot change a result."""

BY_NAME = {
    "itm.methods.build": [
        f"itm.methods.{part}.{get_args(model.model_fields['type'].annotation)[0]}"
        for part, models in (("losses", loss_models()), ("similarities", similarity_models()))
        for model in models
    ],
    "itm.evaluation.benchmarks": [f"itm.evaluation.benchmarks.{name}" for name in BENCHMARK_NAMES],
    "itm.data.readers.base": [f"itm.data.readers.{name}" for name in READERS.values()],
    "itm.data.schemas.check": ["itm.data.schemas.scored", "itm.data.schemas.descriptions"],
}
"""Modules that are imported by a name built at run time."""

NOT_FOLLOWED = {
    ("features", "itm.methods"): "of itm.encode the stage calls compute_features only, which meets towers and data",
    ("features", "itm.descriptions"): "as itm.methods",
    ("features", "itm.vectors"): "as itm.methods",
}
"""Modules that a stage's imports lead to, but its calls do not."""


@functools.cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("itm", exclude_type_checking_imports=True, cache_dir=None)


def file_of(module: str) -> Path:
    package = SOURCE / module.replace(".", "/") / "__init__.py"
    return package if package.is_file() else SOURCE / (module.replace(".", "/") + ".py")


@functools.cache
def imported_names(module: str) -> dict[str, set[str]]:
    """`from package import name` statements: the names by package."""
    names: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.setdefault(node.module, set()).update(alias.name for alias in node.names)
    return names


def origins(package: str, names: Iterable[str]) -> Iterator[str]:
    """The modules that define names which a package's `__init__` only passes on; the package itself for others."""
    passed_on = {name: source for source, found in imported_names(package).items() for name in found}
    for name in names:
        yield passed_on.get(name, package)


def uses(module: str) -> set[str]:
    """The modules of the project that a module gets its names from."""
    found = graph().modules & set(BY_NAME.get(module, ()))
    for imported in graph().find_modules_directly_imported_by(module):
        if file_of(imported).name == "__init__.py":
            names = imported_names(module).get(imported, set())
            found.update(origins(imported, (name for name in names if f"{imported}.{name}" not in graph().modules)))
        else:
            found.add(imported)
    return found


def is_plumbing(module: str) -> bool:
    return any(module == known or module.startswith(known + ".") for known in PLUMBING)


def code_of(roots: Iterable[str], without: Iterable[str] = ()) -> set[str]:
    """The files whose code runs in a stage: those of its modules, of what they use, and so on."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        module = todo.pop()
        if module in seen or is_plumbing(module) or any(module.startswith(f"{room}.") for room in without):
            continue
        seen.add(module)
        todo += uses(module)
    return {str(file_of(module).relative_to(ROOT)) for module in seen if not only_passes_on(file_of(module))}


def only_passes_on(file: Path) -> bool:
    """Whether a file holds nothing but a docstring, imports and `__all__`."""
    return file.name == "__init__.py" and all(
        isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in ast.parse(file.read_text()).body
    )


def declared(stage: str) -> set[str]:
    """The code that dvc.yaml names for a stage, folders as their modules."""
    found: set[Path] = set()
    for entry in STAGES[stage]["deps"]:
        if entry.startswith("src/"):
            found.update((ROOT / entry).rglob("*.py") if (ROOT / entry).is_dir() else [ROOT / entry])
    return {str(file.relative_to(ROOT)) for file in found if not only_passes_on(file)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_code_it_uses_and_no_other(stage: str) -> None:
    used = code_of([f"itm.stages.{stage}"], [room for known, room in NOT_FOLLOWED if known == stage])
    missing, needless = sorted(used - declared(stage)), sorted(declared(stage) - used)
    assert (missing, needless) == ([], []), (
        f"dvc.yaml, stage {stage}: add {missing}, remove {needless}\n"
        "The whole list:\n" + "\n".join(f"      - {path}" for path in sorted(used))
    )


def test_the_tables_above_are_neither_stale_nor_short() -> None:
    assert [module for module in PLUMBING if module not in graph().modules] == []
    files = {file for stage in STAGES for file in code_of([f"itm.stages.{stage}"])}
    assert {file for file in files if "import_module(" in (ROOT / file).read_text()} == {
        str(file_of(module).relative_to(ROOT)) for module in BY_NAME
    }
    for stage, room in NOT_FOLLOWED:
        assert any(file.startswith(f"src/{room.replace('.', '/')}/") for file in code_of([f"itm.stages.{stage}"]))


def test_an_import_through_a_package_leads_to_the_module_that_defines_the_name() -> None:
    assert set(origins("itm.metrics", ["rsum", "rank_all"])) == {"itm.metrics.recall", "itm.metrics.ranks"}
    assert "itm.metrics.hierarchy" not in uses("itm.training.figures")


def test_an_import_inside_a_function_counts() -> None:
    assert "itm.methods.additions.queue" in uses("itm.methods.build")
