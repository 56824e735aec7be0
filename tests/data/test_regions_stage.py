"""The stage `features`: regions stand in the place of the images' tokens, and tokens are never in memory as a whole."""

import json
import resource
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from itm.encode import _collect
from itm.faults import disk_fault
from itm.features import FeatureRows, Spool, TokenRows, read_features, write_features
from itm.stages.features import _use_regions
from itm.towers.base import Features


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
    _use_regions(images, texts, tmp_path, tmp_path, pooled, tmp_path)
    write_features(tmp_path / "images.safetensors", images)
    found = read_features(tmp_path / "images.safetensors", tokens=True)
    assert found is not None
    assert found.tokens is not None
    assert found.tokens.first.tolist() == [0, 3, 5]
    assert found.tokens.values.tolist() == np.concatenate([values["b"], values["a"]]).tolist()
    expected = [[9] * 5] * 2 if pooled == "towers" else [[2, 2, 2], [1, 1, 1]]
    assert found.pooled.tolist() == expected
    assert found.towers == texts.towers == {"kind": "offline", "regions": {"width": 3, "pooled": pooled}}


def in_memory(pooled, parts) -> dict:
    """The tensors of a file, joined in memory."""
    first = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return {"pooled": pooled, "tokens": np.concatenate(parts).astype(np.float16), "first": first}


def made(path, tensors: dict, towers: dict) -> bytes:
    save_file(tensors, path, metadata={"towers": json.dumps(towers, sort_keys=True)})
    return path.read_bytes()


@pytest.fixture
def peak():
    """The most that was in memory until it is called."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("layout", ["scan", "npz"])
def test_regions_are_written_as_if_joined_in_memory_but_are_not(tmp_path, layout: str, peak) -> None:
    rows, ids = 60, [f"i{row}" for row in range(60)]
    values = np.random.default_rng(0).normal(size=(rows, 36, 256)).astype(np.float32)
    pooled, kind = np.ones((rows, 5), np.float32), {"kind": "offline"}
    pd.DataFrame({"image_id": ids}).to_parquet(tmp_path / "images.parquet")
    towers = {**kind, "regions": {"width": 256, "pooled": "towers"}}
    expected = made(tmp_path / "expected", in_memory(pooled, list(values)), towers)
    order = np.random.default_rng(1).permutation(rows)
    if layout == "scan":
        np.save(tmp_path / "train_ims.npy", values[order])
        (tmp_path / "train_ids.txt").write_text("".join(f"i{row}\n" for row in order))
    else:
        for row in order:
            np.savez(tmp_path / f"i{row}.npz", features=values[row])
    whole = values.nbytes
    del values
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    images, texts = FeatureRows(pooled, None, kind), FeatureRows(np.zeros((4, 5), np.float32), None, kind)
    _use_regions(images, texts, tmp_path, tmp_path, "towers", tmp_path / "scratch")
    write_features(tmp_path / "images.safetensors", images)
    assert peak() - before < whole / 8
    assert (tmp_path / "images.safetensors").read_bytes() == expected
    assert list((tmp_path / "scratch").iterdir()) == []


def test_tokens_of_towers_are_put_aside_batch_by_batch(tmp_path, peak) -> None:
    """Texts come by their length; row 3 has no token at all."""
    rows, width, longest, size = 192, 256, 20, 4
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, longest + 1, rows)
    lengths[3] = 0

    def features(places: np.ndarray) -> Features:
        drawn = [np.random.default_rng(place).normal(size=(longest, width)) for place in places]
        mask = np.arange(longest) < lengths[places][:, None]
        pooled = torch.from_numpy(places[:, None].astype(np.float32))
        return Features(pooled, torch.from_numpy(np.stack(drawn)).half(), torch.from_numpy(mask))

    order = np.argsort(lengths, kind="stable")
    parts = [features(np.array([row])).tokens[0].numpy()[: lengths[row]] for row in range(rows)]
    expected = made(tmp_path / "expected", in_memory(np.arange(rows, dtype=np.float32)[:, None], parts), {"kind": "x"})
    whole = sum(part.nbytes for part in parts)
    del parts
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    batches = ((order[start : start + size], features(order[start : start + size])) for start in range(0, rows, size))
    towers = SimpleNamespace(describe=lambda: {"kind": "x"})
    found = _collect(batches, rows, True, towers, tmp_path / "scratch")
    write_features(tmp_path / "texts.safetensors", found)
    assert peak() - before < whole / 2  # what a batch takes in the test itself among it
    assert (tmp_path / "texts.safetensors").read_bytes() == expected
    assert _collect(iter([]), 0, True, towers, tmp_path).tokens.values.shape == (0, 0)


def test_a_full_disk_names_the_folder(tmp_path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught, Spool(tmp_path) as spool:
            spool.add(np.zeros((1000, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert disk_fault(caught.value).startswith(f"{tmp_path}: the file is larger than allowed")
