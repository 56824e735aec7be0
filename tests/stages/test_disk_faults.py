"""A disk that refuses a file stops a stage with one message that says which file, why, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itm.data.files import atomic_path
from itm.faults import disk_fault

SRC = Path(__file__).parents[2] / "src"


def with_text(path: Path) -> None:
    path.write_text("x" * 100_000)


def with_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.random.default_rng(0).random(10_000))


def with_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": np.random.default_rng(0).random(10_000)}), path)


def with_safetensors(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(10_000)}, path)


def with_torch(path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(10_000)}, path)


@pytest.fixture
def limited():
    """Files of this process may not grow beyond 4 KB, which libraries meet as they meet a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("write", [with_text, with_npz, with_parquet, with_safetensors, with_torch])
def test_the_message_names_the_file_whichever_library_wrote_it(write, limited, tmp_path: Path) -> None:
    path = tmp_path / "out.bin"

    def stage() -> None:
        with atomic_path(path) as temporary:
            write(temporary)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - each library raises another
        stage()
    message = disk_fault(caught.value)
    assert message is not None
    assert message.startswith(f"{path}: ")
    assert message.endswith(", and run the same command again")
    assert list(tmp_path.iterdir()) == []


STAGE = """
from itm.stages.harness import run


def stage() -> None:
    with open("/dev/full", "w") as file:
        file.write("x")


run(stage, "full")
"""


def test_a_stage_ends_with_the_message_and_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "full.py").write_text(STAGE)
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    command = [sys.executable, "full.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "itm full: " in done.stderr
    assert "the disk is full; free some space there, and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), OSError("no number"), FileNotFoundError(2, "none")])
def test_other_errors_are_none_of_its_business(error: Exception) -> None:
    assert disk_fault(error) is None


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_an_error_that_another_one_wraps_is_found(link: str) -> None:
    error = RuntimeError("could not save")
    setattr(error, link, PermissionError(13, "Permission denied", "models/a"))
    assert disk_fault(error) == "models/a: permission denied; make it accessible to you, and run the same command again"
