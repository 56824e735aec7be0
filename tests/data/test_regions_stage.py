"""The stage `features` with regions: they stand in the place of the images' tokens, and both files say so."""

import numpy as np
import pandas as pd
import pytest

from itm.features import FeatureRows, TokenRows, read_features, write_features
from itm.stages.features import _use_regions


@pytest.mark.parametrize("pooled", ["towers", "mean"])
def test_regions_replace_tokens(tmp_path, pooled: str) -> None:
    ids = ["b", "a"]
    pd.DataFrame({"image_id": ids}).to_parquet(tmp_path / "images.parquet")
    values = {"a": np.ones((2, 3), np.float32), "b": np.array([[0, 2, 4], [4, 2, 0], [2, 2, 2]], np.float32)}
    for name, regions in values.items():
        np.savez(tmp_path / f"{name}.npz", features=regions)
    old = TokenRows(np.zeros((2, 7), np.float16), np.array([0, 1, 2]))
    images = FeatureRows(np.full((2, 5), 9, np.float32), old, {"kind": "offline"})
    texts = FeatureRows(np.zeros((4, 5), np.float32), None, {"kind": "offline"})
    _use_regions(images, texts, tmp_path, tmp_path, pooled)
    write_features(tmp_path / "images.safetensors", images)
    found = read_features(tmp_path / "images.safetensors", tokens=True)
    assert found is not None
    assert found.tokens is not None
    assert found.tokens.first.tolist() == [0, 3, 5]
    assert found.tokens.values.tolist() == np.concatenate([values["b"], values["a"]]).tolist()
    expected = [[9] * 5] * 2 if pooled == "towers" else [[2, 2, 2], [1, 1, 1]]
    assert found.pooled.tolist() == expected
    assert found.towers == texts.towers == {"kind": "offline", "regions": {"width": 3, "pooled": pooled}}
