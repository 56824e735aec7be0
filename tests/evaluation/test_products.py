"""Products by torch: the figures of numpy to the last digit, and messages where a device cannot."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from presets import preset
from typer.testing import CliRunner

from itm.config.render import render
from itm.errors import MetricError, TrainingError
from itm.evaluation.commands import evaluate_app
from itm.grading.calibrator import write_no_grade
from itm.metrics import DotProduct, Positives, rank_all, top_items
from itm.metrics.scorer import multiply
from itm.pipeline import devices
from itm.pipeline import products as module
from itm.pipeline.products import DeviceProducts, products
from itm.stages.evaluate import evaluate


def to_the_bound(left, right, rows, columns):
    """The worst that a device may do: each product off by nearly the bound, up or down by chance."""
    exact = left[rows].astype(np.float64) @ right[columns].astype(np.float64).T
    by_row, by_column = DotProduct(left, right).error(np.float32)
    sign = np.random.default_rng(rows.start + columns.start).choice([-1.0, 1.0], exact.shape)
    # a part is left for the rounding of what is given
    return (exact + 0.8 * sign * np.minimum(by_row[rows, None], by_column[columns])).astype(np.float32)


@pytest.mark.parametrize("kind", ["random", "close", "signs", "duplicates", "constant"])
@pytest.mark.parametrize("device", ["torch", "worst"])
def test_ranks_and_lists_are_those_of_numpy(kind, device):
    rng = np.random.default_rng(0)
    image, text = (rng.standard_normal((size, 24)).astype(np.float32) for size in (120, 700))
    if kind == "close":
        text = text[:1] + np.float32(1e-6) * text
    elif kind == "signs":
        image, text = np.sign(image[:, :5]), np.sign(text[:, :5])
    elif kind == "duplicates":
        text = text[rng.integers(0, 90, 700)]
    elif kind == "constant":
        text = np.tile(text[:1], (700, 1))
    answers = Positives.from_owners(rng.integers(0, 120, 700), 120)
    itself = Positives.from_mask(np.eye(700, dtype=bool))
    siblings = Positives.from_mask(np.roll(np.eye(700, dtype=bool), 1, axis=1))

    def found(by):
        scorer, alone = DotProduct(image, text, multiply=by), DotProduct(text, multiply=by)
        ranks = [*rank_all(scorer, [answers[0]], [answers[1]]), rank_all(alone, [siblings], exclude=itself)[0]]
        lists = [top_items(each, k) for each in (scorer, scorer.transposed()) for k in (1, 7)]
        return [*lists, *(getattr(r, name) for (r,) in ranks for name in ("rank", "optimistic", "pessimistic"))]

    by = DeviceProducts("cpu") if device == "torch" else to_the_bound
    for ours, theirs in zip(found(by), found(multiply), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.slow
def test_an_array_is_copied_once_and_forgotten_with_its_last_use():
    left, right = (np.random.default_rng(n).standard_normal((40, 8)).astype(np.float32) for n in (0, 1))
    right.flags.writeable = False  # as mapped files are
    by = DeviceProducts("cpu")
    gc.collect()
    assert by._held == {}  # of the probe nothing is left
    scorer = DotProduct(left, right, multiply=by)
    for each in (scorer, scorer.transposed()):
        top_items(each, 1)
    assert set(by._held) == {id(left), id(right)}
    del scorer, each, left, right
    gc.collect()
    assert by._held == {}


def test_embeddings_beyond_float32_never_reach_the_device():
    def refuse(*_):
        raise AssertionError

    scorer = DotProduct(np.full((2, 4), 1e30), np.full((3, 4), 1e30), multiply=refuse)
    assert scorer.block(slice(None), slice(None)).dtype == np.float64
    scorer = DotProduct(np.eye(2), multiply=refuse)
    assert scorer.block(slice(None), slice(None), np.float64).tolist() == [[1, 0], [0, 1]]


class Short(DeviceProducts):
    """A device that rounds what it multiplies to eight digits, as TF32 does to eleven."""

    def _there(self, values):
        return super()._there(values).bfloat16().float()


def test_fewer_digits_are_noticed():
    with pytest.raises(MetricError, match="multiplies with fewer digits than float32 has; unset NVIDIA_TF32_OVERRIDE"):
        Short("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_told(tmp_path):
    with pytest.raises(MetricError, match=r"torch cannot compute on 'cuda' \(.+\); compute on the CPU \(device: cpu\)"):
        DeviceProducts("cuda")
    with pytest.raises(MetricError, match=r"torch cannot compute on 'nowhere'"):
        DeviceProducts("nowhere")


def test_too_little_memory_is_told(monkeypatch):
    by = DeviceProducts("cpu")

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch, "tensor", full)
    ones = np.eye(4, dtype=np.float32)
    with pytest.raises(MetricError, match=r"128 B of embeddings and their products do not fit into .* of 'cpu'"):
        DotProduct(ones, ones.copy(), multiply=by).block(slice(None), slice(None))


@pytest.fixture
def one_gpu(tmp_path, monkeypatch):
    """A machine with a GPU, which computes as the CPU does; what is multiplied there is counted."""
    monkeypatch.setenv("ITM_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["GPU-aaaa"])
    counted = []

    class Counted(DeviceProducts):
        def __init__(self, name):
            assert name == "cuda:0"
            super().__init__("cpu")

        def __call__(self, *given):
            counted.append(given)
            return super().__call__(*given)

    monkeypatch.setattr(module, "DeviceProducts", Counted)
    return counted


def test_a_stage_takes_a_gpu_only_if_it_is_asked_for_and_free(one_gpu, monkeypatch):
    for requested in ("auto", "cpu"):
        with products(requested) as by:
            assert by is multiply
    with products("cuda") as by:
        assert by is not multiply
        with products("cuda") as other:  # taken
            assert other is multiply
    monkeypatch.setattr(devices, "visible_gpus", list)
    with products("cuda") as by:
        assert by is multiply
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["GPU-aaaa"])
    with pytest.raises(TrainingError, match="of the stage"), products("cuda"):
        raise TrainingError("of the stage")
    assert len(one_gpu) == 2  # the probes


@pytest.mark.parametrize("benchmark", ["retrieval", "cxc"])
def test_the_evaluate_stage_writes_the_same_bytes(world, tmp_path, monkeypatch, one_gpu, benchmark):
    monkeypatch.chdir(tmp_path)
    write_no_grade(tmp_path / "grade.json", "made up")
    for device in ("cpu", "cuda"):
        Path("params.yaml").write_text(render(preset("scenes", changes={"device": device}), "scenes"))
        folders = world.clean, world.scored, world.embeddings, tmp_path / "grade.json"
        evaluate(benchmark, "clip", 0, *folders, tmp_path / device, tmp_path / device)
    for suffix in ("json", "npz"):
        assert len({(tmp_path / each / f"{benchmark}.{suffix}").read_bytes() for each in ("cpu", "cuda")}) == 1
    assert len(one_gpu) > 1


def run(*words):
    return CliRunner().invoke(evaluate_app, list(words))


def test_a_file_is_evaluated_on_the_device_that_is_named(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "x.npz",
        image_embeddings=rng.standard_normal((6, 5)).astype(np.float32),
        caption_embeddings=rng.standard_normal((9, 5)).astype(np.float32),
        image_ids=np.arange(6),
        caption_ids=np.arange(9),
        caption_image_ids=np.arange(9) % 6,
    )
    monkeypatch.setattr("itm.evaluation.published.run.DeviceProducts", lambda name: seen.append(name) or by)
    seen, by = [], DeviceProducts("cpu")
    given = ["--embeddings", str(tmp_path / "x.npz"), "--benchmark", "pairs"]
    for device in ("cpu", "mps"):
        assert run(*given, "--device", device, "--out", str(tmp_path / f"{device}.json")).exit_code == 0
    assert seen == ["mps"]
    assert len({json.dumps(json.loads((tmp_path / f"{device}.json").read_text())) for device in ("cpu", "mps")}) == 1
    grade = run(*given, "--grade", "g.json", "--captions", "c.csv", "--device", "cuda")
    assert "grades of all pairs are computed on the CPU" in str(grade.exception)
