"""ESL as published: region and BERT code (`esl_token`), CLIP code (`esl_global`); heuristic and adaptive masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itm.methods.functional.hinge import symmetric_hinge
from itm.methods.functional.info_nce import symmetric_info_nce
from itm.methods.method import Embedded, Similarity, Widths
from itm.methods.similarities.esl import correspondence, pyramid
from itm.towers.base import Features

from .vectors import Reference, fill, renamed, similarity, state

OWNER = torch.arange(12) // 2
POSITIVES = OWNER.unsqueeze(0) == torch.arange(6).unsqueeze(1)


@pytest.fixture
def no_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths without the 1e-8 that is added to them."""
    monkeypatch.setattr(pyramid, "EPSILON", 1e-300)


def built(reference: Reference, kind: str, chain: str = "raw") -> Similarity:
    """The published similarity of a file, with its weights."""
    token, adaptive = kind == "token", "adaptive" in reference.name
    weights = reference.weights()
    dimension = weights["sims.calculator_1.masks_0.weight"].shape[0]
    options = {"mask": "adaptive" if adaptive else "heuristic", "levels": 8, "text_chain": chain, "tanh": False}
    if token:
        region, word = (reference.values.get(f"input.{name}", torch.ones(1, 1, 1)) for name in ("regions", "words"))
        detail = weights["img_enc.mlp.layers.0.weight"].shape[0] if "img_enc.fc.weight" in weights else 0
        widths = Widths(0, 0, region.shape[-1], word.shape[-1])
        options |= {"hidden": detail, "norm": "batch_norm", "drop_regions": 0.0, "form": "layer_norm"}
        options |= {"threshold": "raw", "sparse": not adaptive}
        model = similarity("esl-token", dimension, widths, **options)
    else:
        options |= {"form": "identity", "threshold": "sigmoid", "sparse": True}
        model = similarity("esl-global", dimension, Widths(dimension, dimension, 0, 0), layers=0, **options)
    names = {"sim_eval.weight": "correspondence.contribution.degrees"}
    if not (token and adaptive):
        names |= {
            "temp_scale_1.weight": "correspondence.contribution.sigma",
            "temp_scale_2.weight": "correspondence.contribution.log_tau",
        }
    names = {f"sims.calculator_1.{theirs}": ours for theirs, ours in names.items()}
    if token:
        names |= {"sims.calculator_1.temp_scale.weight": "log_scale"}
    levels = sum(key.startswith("sims.calculator_1.masks_") for key in weights)
    for level in range(levels):
        names[f"sims.calculator_1.masks_{level}.weight"] = f"correspondence.matrices.{level}.weight"
        if token:
            names[f"sims.calculator_1.lynorm_{level}"] = f"correspondence.matrices.{level}.norm"
        if level and adaptive:
            for side in ("image", "text"):
                theirs = f"plus_encoder.encoders_1.{side}_levels.masks_{level}.weight"
                names[theirs] = f"{side}_pyramid.steps.{level - 1}.weight"
    if token and "img_enc.fc.weight" in weights:
        names |= {
            "img_enc.fc": "regions.linear",
            "img_enc.mlp.layers.0": "regions.into",
            "txt_enc.linear": "words.linear",
        }
        names |= {"img_enc.mlp.bns.0": "regions.norm", "img_enc.mlp.layers.1": "regions.out"}
    found = renamed(weights, names)
    for side, short in (("image", "img"), ("text", "txt")):
        for level in range(1, levels) if not adaptive else ():
            # the four channels of the convolution are summed there
            filters = weights[f"plus_encoder.encoders_1.{side}_levels.kernel_{short}_{level}.weight"]
            found[f"{side}_pyramid.steps.{level - 1}.taps"] = filters.sum((0, 1))
    own = state(model)
    if token and "img_enc.fc.weight" not in weights:
        own = {key: value for key, value in own.items() if not key.startswith(("regions.", "words."))}
    fill(own, found)
    return model


def ours(model: Similarity, key: str) -> Tensor | None:
    """The gradient of the parameter that the authors call so, in their shape; None for what has none here."""
    part = key.rsplit("encoders_1.", 1)[-1].rsplit("calculator_1.", 1)[-1].removesuffix(".first_rows")
    side, _, rest = part.partition("_levels.")
    if part.startswith(("image_levels", "text_levels")):
        step = getattr(model, f"{side}_pyramid").steps[int(rest.split(".")[0].rsplit("_", 1)[1]) - 1]
        if "kernel" in rest:
            return step.taps.grad.expand(4, 1, 2)
        return step.weight.grad
    contribution = model.correspondence.contribution
    names = {"sim_eval.weight": contribution.degrees, "temp_scale_1.weight": contribution.sigma}
    names |= {"temp_scale_2.weight": contribution.log_tau}
    if part == "temp_scale.weight":
        return model.log_scale.grad
    if part in names:
        return None if names[part] is None else names[part].grad
    regions = {"weight.img_enc.fc.weight": "linear", "weight.img_enc.mlp.bns.0.weight": "norm"}
    if part in regions:
        return getattr(model.regions, regions[part]).weight.grad
    kind, number = part.split(".")[0].rsplit("_", 1)
    matrix = model.correspondence.matrices[int(number)]
    return {"masks": matrix, "lynorm": getattr(matrix, "norm", matrix)}[kind].weight.grad


def check_gradients(
    reference: Reference, model: Similarity, inputs: dict[str, Tensor], start: str, limit: float
) -> None:
    """Compare every gradient of the file whose name begins so."""
    keys = [key for key in reference.values if key.startswith(start)]
    keys = [key for key in keys if key.removeprefix(start).split(".")[0] in ("input", "weight")]
    assert keys
    for key in keys:
        name = key.removeprefix(start)
        found = inputs[name].grad if name.startswith("input.") else ours(model, name)
        if found is not None:
            reference.compare(key, found, limit)


def tokens(reference: Reference) -> tuple[dict[str, Tensor], Features, Features]:
    """Leaves, and the features of images and texts made of them."""
    if "input.regions" in reference.values:
        leaves = {f"input.{name}": reference[f"input.{name}"].clone().requires_grad_() for name in ("regions", "words")}
        regions, words = leaves.values()
    else:
        names = ("input.image_codes", "input.text_codes")
        leaves = {name: reference[name].clone().requires_grad_() for name in names}
        regions, words = (
            torch.nn.functional.normalize(codes @ reference[name.replace("codes", "basis")], dim=-1, eps=0.0)
            for name, codes in leaves.items()
        )
    masks = torch.ones(regions.shape[:2], dtype=torch.bool), reference.mask("input.word_lengths", words.shape[1])
    none = torch.zeros(1)
    return leaves, Features(none, regions, masks[0]), Features(none, words, masks[1])


def token_scores(model: Similarity, images: Features, texts: Features) -> Tensor:
    """Scores by features, or by tokens that are in the joint space already."""
    if model.regions.linear.in_features == 1:
        keys = model.correspondence.key(model.image_pyramid(images.tokens))
        words = texts.tokens * texts.mask.unsqueeze(-1)
        return model.score(Embedded(images.pooled, keys, images.mask), Embedded(texts.pooled, words, texts.mask))
    return model.score(model.encode_image(images), model.encode_text(texts))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("esl_token_heuristic_d32", 1e-6),
        ("esl_token_adaptive_d32", 1e-6),
        ("esl_token_heuristic_d512", 1e-5),
        ("esl_token_adaptive_d512", 1e-5),
    ],
)
def test_token_similarity_equals_the_published_one(name: str, limit: float) -> None:
    reference = Reference(name)
    model = built(reference, "token")
    leaves, images, texts = tokens(reference)
    scores = token_scores(model.train(), images, texts)
    reference.compare("output.scores", scores, limit)
    (scores * reference["probe.scores"]).sum().backward()
    check_gradients(reference, model, leaves, "grad.", limit)


@pytest.mark.usefixtures("no_epsilon")
@pytest.mark.parametrize(
    ("name", "limit"), [("esl_token_heuristic_d32", 2e-6), ("esl_token_adaptive_d32", 2e-6),
    ("esl_token_heuristic_d512", 2e-6), ("esl_token_adaptive_d512", 1e-5)],
)  # fmt: skip
@pytest.mark.parametrize("chain", ["unit", "raw"])
def test_token_similarity_without_the_epsilon(name: str, limit: float, chain: str) -> None:
    reference = Reference(name)
    model = built(reference, "token", chain)
    leaves, images, texts = tokens(reference)
    scores = token_scores(model.train(), images, texts)
    reference.compare("output.scores_without_epsilon", scores, limit)
    (scores * reference["probe.scores"]).sum().backward()
    check_gradients(reference, model, leaves, "grad_without_epsilon.", limit)


@pytest.mark.parametrize("name", ["esl_token_heuristic_d32", "esl_token_adaptive_d32"])
def test_encoders_evaluation_and_summed_hinge(name: str) -> None:
    reference = Reference(name)
    model = built(reference, "token")
    leaves, images, texts = tokens(reference)
    embedded, words = model.train().encode_image(images), model.encode_text(texts)
    reference.compare("output.image_levels_first2", embedded.tokens[:2], 1e-6)
    real = texts.mask[:2].unsqueeze(-1)
    levels = torch.cat(model.text_pyramid(words.tokens), -1)[:2]
    reference.values["levels"] = reference["output.text_levels_first2"] * real
    reference.compare("levels", levels * real, 1e-6)
    # the file's hinge takes the diagonal of the first caption of each image
    scores = model.score(embedded, words)[:, ::2]
    eye = torch.eye(6, dtype=torch.bool)
    reference.compare("loss.hinge_sum", symmetric_hinge(scores, eye, 0.2, "sum", reduction="sum"), 1e-6)
    hardest = symmetric_hinge(scores, eye, 0.2, "hardest", reduction="sum")
    reference.compare("loss.hinge_max", hardest, 1e-6)
    hardest.backward()
    check_gradients(reference, model, leaves, "grad.hinge_max.", 1e-6)
    model = built(reference, "token").eval()
    reference.compare("output.scores_eval", token_scores(model, images, texts), 1e-6)
    padded = reference.mask("input.region_lengths_padded", 7)
    images = Features(images.pooled, images.tokens * padded.unsqueeze(-1), padded)
    reference.compare("output.scores_eval_alone", token_scores(model, images, texts), 1e-6)


@pytest.mark.parametrize(
    ("name", "limit", "without"),
    [
        ("esl_global_heuristic_d32", 1e-6, 5e-6),
        ("esl_global_adaptive_d32", 1e-6, 1e-6),
        ("esl_global_heuristic_d512", 5e-6, 1e-6),
        ("esl_global_adaptive_d512", 1e-6, 1e-6),
    ],
)
@pytest.mark.parametrize("epsilon", [True, False])
def test_global_similarity_equals_the_published_one(
    name: str, limit: float, without: float, epsilon: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not epsilon:
        monkeypatch.setattr(pyramid, "EPSILON", 1e-300)
    reference, limit = Reference(name), limit if epsilon else without

    def run() -> tuple[Similarity, dict[str, Tensor], Tensor]:
        model = built(reference, "global")
        small = "input.images" in reference.values
        names = ("input.images", "input.texts") if small else ("input.image_codes", "input.text_codes")
        leaves = {key: reference[key].clone().requires_grad_() for key in names}
        vectors = [leaf if small else leaf @ reference[key.replace("codes", "basis")] for key, leaf in leaves.items()]
        images, texts = model.encode_image(Features(vectors[0])), model.encode_text(Features(vectors[1]))
        if small and epsilon:
            reference.compare("output.image_levels", images.embedding * 5**0.5, limit)
            reference.compare("output.text_levels", texts.embedding * 5**0.5, limit)
        return model, leaves, model.score(images, texts)

    model, leaves, scores = run()
    reference.compare("output.scores" if epsilon else "output.scores_without_epsilon", scores, limit)
    (scores * reference["probe.scores"]).sum().backward()
    check_gradients(reference, model, leaves, "grad." if epsilon else "grad_without_epsilon.", limit)
    if epsilon:
        model, leaves, scores = run()
        scale = reference["input.logit_scale"].exp().clamp(max=100)
        loss = symmetric_info_nce(scores[:, ::2] * scale, torch.eye(6, dtype=torch.bool))
        reference.compare("loss.info_nce", loss, limit)
        loss.backward()
        check_gradients(reference, model, leaves, "grad.info_nce.", limit)


def test_the_chain_of_unit_levels_differs_by_the_epsilon_alone() -> None:
    assert correspondence.EPSILON == pyramid.EPSILON == 1e-8
    reference = Reference("esl_token_adaptive_d512")
    _, images, texts = tokens(reference)
    with pytest.raises(AssertionError, match=r"output\.scores: [0-9.]+e-04"):
        reference.compare("output.scores", token_scores(built(reference, "token", "unit"), images, texts), 1e-5)
