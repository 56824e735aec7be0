from __future__ import annotations

import sys
from pathlib import Path

import pytest

from itm.config.data import ScenesParameters
from itm.data.scenes import Tables, tables, write_scenes

# The importlib mode of pytest leaves the folder of a test out of the path; scene_examples.py is next to this file.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def default() -> ScenesParameters:
    return ScenesParameters(
        seed=0,
        image_size=64,
        train_images=6000,
        dev_images=500,
        test_images=1000,
        maximum_objects=3,
        captions_per_image=5,
        noise=0.04,
        held_out_fraction=0.1,
    )


@pytest.fixture(scope="session")
def small(default: ScenesParameters) -> ScenesParameters:
    return default.model_copy(update={"train_images": 60, "dev_images": 20, "test_images": 40})


@pytest.fixture(scope="session")
def small_file(small: ScenesParameters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "scenes.jsonl"
    write_scenes(small, path)
    return path


@pytest.fixture(scope="session")
def small_tables(small_file: Path) -> Tables:
    return tables(small_file)
