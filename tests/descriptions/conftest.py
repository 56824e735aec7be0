import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itm.config.describe import DescribeParameters, DescriptionsParameters

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file

from described import ADDED, PLAIN, WORDS


@pytest.fixture
def options():
    """A maker of parameters of the section `describe`."""
    return lambda **changes: DescribeParameters.model_validate(PLAIN | changes)


@pytest.fixture
def added():
    """A maker of the options of the addition `descriptions`."""
    return lambda **changes: DescriptionsParameters.model_validate(ADDED | changes)


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals and logs go into a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITM_LOGS", str(tmp_path / "logs"))
    return tmp_path


@pytest.fixture
def small(tmp_path: Path):
    """Clean tables of 48 images in four colours, the colour told by every caption; two of each image's own."""
    from PIL import Image

    from itm.data.images import ShardWriter

    folder = tmp_path / "clean"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, captions = [], []
    for split, count in (("train", 32), ("dev", 8), ("test", 8)):
        with ShardWriter(folder / f"images-{split}.tar") as shard:
            for number in range(count):
                kind = number % 4
                pixels = np.full((16, 16, 3), 30, np.uint8)
                pixels[..., :3] += np.uint8([[150, 0, 0], [0, 150, 0], [0, 0, 150], [150, 150, 0]][kind])
                pixels += rng.integers(0, 40, pixels.shape).astype(np.uint8)
                file = tmp_path / "one.png"
                Image.fromarray(pixels).save(file)
                data = file.read_bytes()
                name = f"{split}{number}"
                offset = shard.add(f"{name}.png", data)
                digest = hashlib.sha256(data).hexdigest()
                place = (f"images-{split}.tar", offset, len(data), 16, 16, "RGB", digest)
                rows.append((name, split, "made", *place))
                for position in range(2):
                    text = f"a {WORDS[kind]} seen {('here', 'there')[position]} number {number}"
                    captions.append((len(captions), name, split, position, text, text, -1, -1))
    columns = ["image_id", "split", "source", "shard", "offset", "size", "width", "height", "mode", "sha256"]
    images = pd.DataFrame(rows, columns=columns)
    images.to_parquet(folder / "images.parquet")
    columns = ["caption_id", "image_id", "split", "position", "text", "raw_text", "level", "multiplicity"]
    table = pd.DataFrame(captions, columns=columns)
    table.to_parquet(folder / "captions.parquet")
    texts = [*table["text"], ""]
    kinds = ["caption"] * len(table) + ["empty"]
    pd.DataFrame({"text_id": range(len(texts)), "text": texts, "kind": kinds}).to_parquet(folder / "texts.parquet")
    return folder
