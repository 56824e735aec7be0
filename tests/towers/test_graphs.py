"""Frozen towers by onnxruntime: PyTorch's within the tolerance, the same bits each run, else refused."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import itm
from itm.config import load
from itm.encode import compute_features
from itm.errors import ConfigError, InstallError, ModelError
from itm.explore.commands import explore_app
from itm.index.commands import index_app, search_app
from itm.index.vectors import Facts, write_index
from itm.methods.build import build_method
from itm.methods.saved import save_model, towers_of
from itm.towers import graphs
from itm.towers.base import Features
from itm.towers.build import by_backend, check_same
from itm.towers.graphs import GraphTowers
from itm.towers.open_clip_model import OpenClipTowers
from itm.towers.scratch import ScratchTowers
from itm.training.dataset import tower_widths

ROOT = Path(__file__).parents[2]
SIZES = {
    "image_size": 32, "context_length": 12, "image_width": 8, "text_width": 16, "text_layers": 1, "text_heads": 2
}  # fmt: skip


class Plain(ScratchTowers):
    """Towers that take no time to be exported: means of pixels, and of the embedded words of texts of any length."""

    short_texts = True

    def __init__(self, vocabulary: list[str], **sizes: int) -> None:
        super().__init__(vocabulary, **sizes)  # type: ignore[arg-type]
        self.embedding = torch.nn.Embedding(30, 5)
        self.image_width = self.image_token_width = 3
        self.text_width = self.text_token_width = 5

    def image(self, pixels: torch.Tensor) -> Features:
        return Features(pixels.mean((2, 3)))

    def text(self, ids: torch.Tensor) -> Features:
        mask = ids != 0
        if not torch.compiler.is_exporting():
            longest = int(mask.sum(1).max())
            ids, mask = ids[:, :longest], mask[:, :longest]
        tokens = self.embedding(ids)
        return Features((tokens * mask[..., None]).sum(1), tokens, mask)


def new() -> Plain:
    torch.manual_seed(0)
    return Plain(["red", "square", "a", "dog"], **SIZES).eval()  # type: ignore[return-value]


@pytest.fixture
def plain() -> Plain:
    return new()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def features(towers: object, texts: list[str]) -> list[np.ndarray]:
    assert isinstance(towers, ScratchTowers | GraphTowers)
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8))
    image = towers.image(towers.preprocess(pixels))
    text = towers.text(torch.from_numpy(towers.tokenize(texts)))
    assert text.tokens is not None
    assert text.mask is not None
    real = (text.tokens * text.mask[..., None]).detach()
    return [image.pooled.detach().numpy(), text.pooled.detach().numpy(), real.numpy(), text.mask.numpy()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the graphs of `plain`; exporting takes seconds."""
    folder = tmp_path_factory.mktemp("made")
    GraphTowers(new(), folder)
    return folder


@pytest.fixture
def copied(made: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same graphs in the folder that counts; what is exported is a copy of them."""

    def write(module: object, values: object, path: Path, *_: object) -> None:
        (source,) = made.glob("image-*" if path.name.startswith(".image-") else "text-*")
        shutil.copyfile(source, path)

    monkeypatch.setattr(graphs, "write_graph", write)
    return Path(shutil.copytree(made, here / ".itm/graphs"))


@pytest.mark.slow
def test_graphs_give_the_towers_features_for_other_batches_and_lengths(plain: Plain, made: Path) -> None:
    graph = GraphTowers(plain, made)
    for texts in (["a dog"], ["red square", "", "a " * 30], ["a"] * 70):
        found, expected = features(graph, texts), features(plain, texts)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert all(map(np.array_equal, found, features(GraphTowers(plain, made), texts)))


@pytest.mark.slow
def test_kept_graphs_serve_again_and_damaged_or_wrong_ones_are_made_anew(plain: Plain, copied: Path) -> None:
    def written() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in copied.iterdir()}

    before, expected = written(), features(plain, ["a dog"])
    by_backend(plain, "onnxruntime")
    assert written() == before
    image, text = sorted(copied.iterdir())
    for spoil in (lambda: image.write_bytes(b"damaged"), lambda: shutil.copyfile(text, image)):
        spoil()
        spoilt = written()
        for ours, theirs in zip(features(by_backend(plain, "onnxruntime"), ["a dog"]), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert {name for name, number in written().items() if number != spoilt[name]} == {image.name}


@pytest.mark.slow
def test_a_graph_that_computes_something_else_is_not_kept(
    plain: Plain, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        plain.embedding.weight *= 1.001  # the same description: the key knows the weights
    kept = set(copied.iterdir())
    with pytest.raises(ModelError, match=r"the text tower's features by onnxruntime differ by 0\.001 .*backend: torch"):
        by_backend(plain, "onnxruntime")
    assert {path.name.split("-")[0] for path in set(copied.iterdir()) - kept} == {"image"}


@pytest.mark.slow
def test_features_and_models_are_computed_by_the_backend_that_is_asked_for(
    plain: Plain, copied: Path, small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itm.encode.build_towers", lambda *_, **__: plain)
    monkeypatch.setattr("itm.methods.saved.build_towers", lambda *_, **__: plain)
    parameters = load(ROOT / "params.yaml")
    frozen = parameters.towers.model_copy(update={"kind": "offline", "frozen": True})
    fast = frozen.model_copy(update={"backend": "onnxruntime"})
    texts = pd.DataFrame({"text": ["a dog", "red", ""]})
    monkeypatch.setattr("itm.encode.read_texts", lambda _: texts)
    one, other = (compute_features(small.clean, each, 5, 1, "cpu", Path()) for each in (frozen, fast))
    for theirs, ours in zip(one, other, strict=True):
        assert "backend" not in theirs.towers
        assert ours.towers == {**theirs.towers, "backend": "onnxruntime"}
        np.testing.assert_allclose(ours.pooled, theirs.pooled, atol=1e-5)
    # a model of these features opens with either backend, whoever computed them
    embedding = parameters.embedding.model_copy(update={"dimension": 8, "hidden": 8})
    options, widths = parameters.method["clip"], tower_widths(plain)
    facts = {"method_parameters": options, "embedding": embedding, "towers_parameters": fast, "widths": widths}
    method = build_method(options, embedding, widths)
    save_model(
        Path("model"), method, None, name="clip", seed=0, towers_description=other[0].towers, training={}, **facts
    )  # type: ignore[arg-type]
    pixels = list(np.random.default_rng(2).integers(0, 256, (3, 40, 40, 3), np.uint8))
    opened = {backend: itm.load("model", backend=backend) for backend in ("torch", "onnxruntime")}
    assert [type(model.towers) for model in opened.values()] == [Plain, GraphTowers]
    for encode in (lambda model: model.encode_image(pixels), lambda model: model.encode_text(["a dog", "red"])):
        theirs, ours = map(encode, opened.values())
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (index_app, ["{model}", "--images", "{clean}", "--out", "{out}/y.index"]),
        (search_app, ["a dog", "--index", "{out}/x.index"]),
        (explore_app, ["{model}", "--images", "{clean}", "--port", "0"]),
    ],
)
def test_commands_hand_the_backend_on(
    command: object, words: list[str], small: SimpleNamespace, tmp_path: Path
) -> None:
    places = {"model": small.models[0], "clean": small.clean, "out": tmp_path}
    write_index(
        tmp_path / "x.index", ["a"], np.ones((1, 2), np.float32), Facts("", "", "dot", "", str(places["model"])), 1
    )
    given = [word.format(**places) for word in words]
    done = CliRunner().invoke(command, [*given, "--backend", "onnxruntime"])  # type: ignore[arg-type]
    assert isinstance(done.exception, ModelError)
    assert "its towers were trained, and backend 'onnxruntime'" in str(done.exception)


CLIPS = {
    "vit": {"layers": 2, "width": 16, "head_width": 8, "patch_size": 16},
    "resnet": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    "timm": {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "",
    },
}


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., OpenClipTowers]:
    """Models of open_clip that take no time to be exported, with random weights."""
    import open_clip

    def build(kind: str, tokens: bool) -> OpenClipTowers:
        text = {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2}
        config = {"embed_dim": 16, "vision_cfg": {"image_size": 32, **CLIPS[kind]}, "text_cfg": text}
        (tmp_path / f"tiny-{kind}.json").write_text(json.dumps(config))
        open_clip.add_model_config(tmp_path / f"tiny-{kind}.json")
        torch.manual_seed(0)
        sizes = {"image_size": 32, "context_length": 12, "tokens": tokens}
        return OpenClipTowers(model=f"tiny-{kind}", weights="", **sizes).eval()  # type: ignore[arg-type, return-value]

    return build


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("vit", True),
        ("timm", False),
        pytest.param("vit", False, marks=pytest.mark.long),
        pytest.param("resnet", False, marks=pytest.mark.long),
    ],
)
def test_open_clip_s_models_are_exported(
    clip: Callable[..., OpenClipTowers], here: Path, kind: str, tokens: bool
) -> None:
    towers = clip(kind, tokens)
    graph = by_backend(towers, "onnxruntime")
    pixels = towers.preprocess(torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)))
    ids = torch.from_numpy(towers.tokenize(["a dog", "", "two people walk along a beach at sunset with a dog"] * 2))
    for part, values in (("image", pixels), ("text", ids), ("text", ids[:1])):
        with torch.inference_mode():
            ours, theirs = getattr(graph, part)(values), getattr(towers, part)(values)
        np.testing.assert_allclose(ours.pooled, theirs.pooled, atol=1e-5)
        assert (ours.tokens is None, ours.mask is None) == (not tokens, not tokens)
        if tokens:
            assert torch.equal(ours.mask, theirs.mask)
            real = theirs.mask[..., None]
            np.testing.assert_allclose(ours.tokens * real, theirs.tokens * real, atol=1e-5)


def test_a_look_at_the_widths_leaves_batch_norms_as_they_were(clip: Callable[..., OpenClipTowers]) -> None:
    state = clip("resnet", False).state_dict()
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    assert means
    assert not torch.stack([mean.abs().max() for mean in means]).any()


def test_bfloat16_rounds_what_torch_computes_and_says_so(clip: Callable[..., OpenClipTowers]) -> None:
    towers = clip("vit", True)
    half = by_backend(copy.deepcopy(towers), "torch-bfloat16")
    assert half.describe() == {**towers.describe(), "backend": "torch-bfloat16"}
    assert tower_widths(half) == tower_widths(towers)
    pixels = half.preprocess(torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)))
    for part, values in (("image", pixels), ("text", torch.from_numpy(half.tokenize(["a dog", ""])))):
        with torch.inference_mode():
            ours, theirs, again = (getattr(each, part)(values) for each in (half, towers, half))
        assert {ours.pooled.dtype, ours.tokens.dtype} == {torch.float32}
        assert torch.equal(ours.mask, theirs.mask)
        assert torch.equal(ours.pooled, again.pooled)
        assert 1e-5 < graphs._difference(ours, theirs) < 0.05


def test_towers_that_cannot_be_traced_are_refused(plain: Plain, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such\noperator " + "x" * 2000)

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(
        ModelError, match=r"the image tower of kind 'scratch' cannot be exported.*no such operator"
    ) as told:
        by_backend(plain, "onnxruntime")
    assert len(str(told.value)) < 1000
    assert not list((here / ".itm/graphs").iterdir())


def test_differences_are_parts_of_a_row_s_length_and_padding_does_not_count() -> None:
    real = torch.tensor([[True, False]])
    one = Features(torch.tensor([[3.0, 4.0]]), torch.tensor([[[1.0], [7.0]]]), real)
    other = Features(torch.tensor([[3.0, 4.5]]), torch.tensor([[[1.0], [9.0]]]), real)
    assert graphs._difference(other, one) == pytest.approx(0.1)
    broken = Features(torch.tensor([[float("nan"), 0.0]]))
    assert not graphs._difference(broken, one) <= 1.0


def test_who_computes_is_part_of_what_features_are(plain: Plain) -> None:
    said = plain.describe()
    assert "backend" not in said
    with pytest.raises(ModelError, match="backend: saved None, now 'onnxruntime'"):
        check_same(said, {**said, "backend": "onnxruntime"})


def test_an_unknown_backend_and_a_missing_library(
    small: SimpleNamespace, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert by_backend(plain, "torch") is plain
    with pytest.raises(ConfigError, match="'onnxrt' is unknown; did you mean 'onnxruntime'"):
        by_backend(plain, "onnxrt")
    with pytest.raises(ModelError, match="towers were trained, and backend 'onnxruntime' computes frozen ones only"):
        itm.load(small.models[0], backend="onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("itm.model.Model", lambda *_, **__: by_backend(plain, "onnxruntime"))
    with pytest.raises(InstallError, match=r"needs the package onnxruntime.*graded-itm\[export\]"):
        itm.load(small.models[0], backend="onnxruntime")


def test_only_frozen_towers_take_a_backend_and_old_cards_have_none() -> None:
    towers = load(ROOT / "params.yaml").towers
    card = {"towers": towers.model_dump()}
    with pytest.raises(ValueError, match="is for frozen towers only: set frozen: true, or backend: torch"):
        towers_of({"towers": {**card["towers"], "backend": "onnxruntime"}})
    del card["towers"]["backend"]
    assert towers_of(card) == towers
