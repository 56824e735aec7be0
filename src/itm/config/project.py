"""The folder of a project: the one that encloses a place, what a new one is made of, and how it is made."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from itm.config.presets import compose, in_use, project_root
from itm.config.recipes import CONF, choose
from itm.config.render import render
from itm.errors import ConfigError, first_few

PACKAGE = Path(__file__).resolve().parents[1]
_PARTS = (
    *("conf", "data/catalogue.yaml", "data/subsets", "data/regions/README.md", "workflow", "dvc.yaml"),
    *(".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore", ".gitignore", ".gitattributes"),
    *("pyproject.toml", "LICENSE"),
)
_README = """\
# A project of graded-itm

`params.yaml` says what is computed, `dvc.yaml` how, `src/itm` with what code; all three belong into git.

    itm preset            # other parameters: names recipes and data sets; `itm preset RECIPE data=DATA` takes them
    dvc repro             # run what has changed; or `snakemake`
    itm runs              # what came out

To work on the code: `pip install --no-deps --editable .`, so that the command `itm` is this folder's, too.
"""


def template() -> Path:
    """Where the definitions lie that the package brings along: conf/, dvc.yaml, workflow/ and their like.

    In a wheel that is a folder of the package, in a checkout the checkout.
    """
    packaged = PACKAGE / "project"
    return packaged if packaged.is_dir() else PACKAGE.parents[1]


def definitions() -> Path:
    """The project around the present folder, or, where there is none, what the package brings along (to be read)."""
    try:
        return project_root()
    except ConfigError:
        if (template() / CONF / "config.yaml").is_file():
            return template()
        raise


def create(folder: str | Path, preset: str) -> Path:
    """A new project in an empty or new folder: the pipeline's definitions, its code, and the parameters of `preset`.

    The code lies in the project, as in a checkout: it is part of what a result is made of, and a change of it makes
    the stages that use it run again. A git repository is made where there is none around it.

    Raises:
        ConfigError: the folder holds something, lies in another project, or there is no such preset.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        held = first_few(sorted(each.name for each in folder.iterdir())) if folder.is_dir() else "it is a file"
        raise ConfigError(f"{folder}: not an empty folder ({held}); name a new one", reason="not-empty")
    source = template()
    word, *overrides = shlex.split(preset) or [""]
    name = choose(word, overrides, source).name
    parameters = render(in_use(compose(word, overrides, root=source), overrides), name)
    folder.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        _copy(source / part, folder / part)
    _copy(PACKAGE, folder / "src/itm")
    (folder / "params.yaml").write_text(parameters, encoding="utf-8")
    (folder / "README.md").write_text(_README, encoding="utf-8")
    _into_git(folder)
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        top = source
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".snakemake", ".*.part*")

        def left_out(where: str, names: list[str]) -> set[str]:
            packaged = {"project"} if Path(where) == PACKAGE == top else set()
            return set(ignored(where, names)) | packaged

        shutil.copytree(source, target, ignore=left_out)
    else:
        shutil.copyfile(source, target)


def _into_git(folder: Path) -> None:
    """Make the folder a git repository, unless it lies in one, or there is no git here (DVC then says so)."""
    if shutil.which("git") is None:
        return
    inside = subprocess.run(
        ["git", "rev-parse", "--is-inside-work-tree"], cwd=folder, capture_output=True, text=True, check=False
    )
    if inside.returncode != 0:
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
