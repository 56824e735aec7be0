"""The import floors of .importlinter hold, a planted breach is caught, and a format has one reader."""

import ast
import re
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


READERS = {
    "data/files.py": {"pq.ParquetFile": "every Parquet file", "np.load": "every .npz file"},
    "data/regions.py": {"np.load": "other people's .npz files: a refusal names the arrays that one holds"},
    "data/tables.py": {"sparse.load_npz": "keywords.npz"},
    "descriptions/vectors.py": {"safe_open": "vectors of descriptions"},
    "features.py": {"safe_open": "features, whose tokens stay in the file"},
    "methods/saved.py": {"safe_open": "weights, as torch's tensors"},
    "runs/verify.py": {"np.load": "two .npz files side by side, an array at a time"},
    "text/stream.py": {"np.load": "arrays one after the other in a scratch file"},
    "vectors/files.py": {"safe_open": "other people's embeddings", "np.load": "the same, once their size is known"},
}
"""What may open a binary format by its library, and for what; all else asks these."""
OPENS = re.compile(r"pq\.(read_\w+|ParquetFile)|np\.load|(\w+\.)*(safe_open|load_npz)|pd\.read_\w+")


def test_a_format_is_opened_where_its_reader_is():
    source = ROOT / "src" / "itm"
    found = {}
    for file in sorted(source.rglob("*.py")):
        calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
        if opened := {call for call in calls if OPENS.fullmatch(call)}:
            found[str(file.relative_to(source))] = opened
    assert found == {file: set(formats) for file, formats in READERS.items()}
