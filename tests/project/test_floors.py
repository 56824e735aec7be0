"""The import floors of .importlinter hold, and a planted breach is caught."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).parent / "lint-imports"


def lint(folder, **environment):
    return subprocess.run(
        [LINT, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


def test_imports_run_down_the_floors():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "import itm.config", "Imports run down the floors"),
        (
            "metrics/planted.py",
            "def f():\n    import torch",
            "Only towers, methods, training, encoding, diagnosis and search import torch",
        ),
        ("stages/score.py", "import itm.training.loop", "Stages that do not train never reach torch"),
        ("methods/losses/vse.py", "import itm.config", "Methods and texts take plain values"),
        ("text/relaxation.py", "from itm.config.data import ScoreParameters", "Methods and texts take plain values"),
        ("new_room.py", "", "new_room"),
    ],
)
@pytest.mark.slow
def test_a_planted_breach_is_caught(tmp_path, module, line, contract):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    with (tmp_path / "src" / "itm" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(tmp_path, PYTHONPATH=str(tmp_path / "src"))
    assert done.returncode != 0
    assert contract in done.stdout + done.stderr
