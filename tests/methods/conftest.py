"""Small batches that every method is tested on."""

from __future__ import annotations

import pytest
import torch
from presets import preset

from itm.config.losses import BASES, DitmParameters
from itm.config.methods import MethodParameters
from itm.methods.build import build_method
from itm.methods.method import Context, Embedded, Labels, Method, Widths
from itm.towers.base import Features

PARAMETERS = preset("scenes")
IMAGES, CAPTIONS_EACH, IMAGE_WIDTH, TEXT_WIDTH = 6, 2, 10, 7
WIDTHS = Widths(IMAGE_WIDTH, TEXT_WIDTH, 5, 4, description_width=3, prototypes=4)
POSITIONS = 6


# Every option of `ditm` at least once: the base losses with the refinements they go with, and the forms of order.
VARIANTS: dict[str, dict[str, object]] = {
    f"{base}-{refinement}": {"base": base, "refinement": refinement}
    for refinement, bases in BASES.items()
    for base in bases
} | {
    "semi-hard": {"base": "hinge", "refinement": "relative_margin", "mining": "semi_hard"},
    "sum": {"base": "hinge", "refinement": "triplet_weight", "mining": "sum"},
    "no-gate": {"gate": "none"},
    **{f"soft-{mixing}": {"refinement": "soft_targets", "soft_mixing": mixing} for mixing in ("added", "share")},
    **{f"label-slope-{mixing}": {"label_slope": 3.0, "soft_mixing": mixing} for mixing in ("added", "share")},
    "label-slope-alone": {"label_slope": 3.0, "soft_weight": 0.0},
    "text-cosine": {"gate": "text_cosine", "soft_threshold": 0.2},
    "gate-only-margin": {"base": "hinge", "refinement": "absolute_margin", "direction": False},
    "mined": {"mined_captions": 3, "mined_threshold": 0.3},
    "mined-text-cosine": {"mined_captions": 3, "mined_threshold": 0.1, "gate": "text_cosine", "refinement": "none"},
    **{f"order-{form}": {"order_form": form} for form in ("ladder", "listmle", "kl")},
    **{f"mined-{form}": {"order_form": form, "mined_captions": 2, "mined_threshold": 0.3} for form in ("ladder", "kl")},
}


def variant(**changes: object) -> DitmParameters:
    """`ditm` with an order term on similarities, and labels that all count alike, but for `changes`."""
    plain = {**PARAMETERS.method["ditm"].loss.model_dump(), "order_weight": 1.0, "label_slope": 0.0}
    return DitmParameters.model_validate({**plain, **changes})


# The addition `descriptions` on other bases and with its other options.
ADDED: dict[str, dict[str, object]] = {
    "gate": {"fusion": "gate"},
    "images-only": {"captions": False, "prototype_weight": 0.0},
    "mean": {"several": "mean", "weight": 0.5},
}


def described(base: str, **changes: object) -> MethodParameters:
    options = {**PARAMETERS.method["vsd"].model_dump()["add"]["descriptions"], **changes}
    entry = {**PARAMETERS.method[base].model_dump(), "add": {"descriptions": options}}
    return MethodParameters.model_validate(entry)


METHODS = dict(PARAMETERS.method)
METHODS |= {
    f"ditm:{name}": PARAMETERS.method["ditm"].model_copy(update={"loss": variant(**changes)})
    for name, changes in VARIANTS.items()
}


def with_options(base: str, part: str, **changes: object) -> MethodParameters:
    entry = PARAMETERS.method[base].model_dump()
    return MethodParameters.model_validate({**entry, part: {**entry[part], **changes}})


METHODS["esl-token:batch-norm"] = with_options(
    "esl-token", "similarity", norm="batch_norm", tanh=True, drop_words=0.2, threshold="sigmoid"
)
METHODS["esl-token:raw-chain"] = with_options("esl-token-adaptive", "similarity", text_chain="raw", tanh=True)
METHODS["vse-inf:batch-norm"] = with_options("vse-inf", "similarity", norm="batch_norm")
METHODS["vse-inf:mean"] = with_options("vse-inf", "similarity", pooling="mean")
METHODS["aahr:batch-norm"] = with_options("aahr-base", "similarity", norm="batch_norm", image_hidden=6, text_hidden=6)
METHODS["vse:sum"] = with_options("vse", "loss", reduction="sum")
METHODS |= {f"descriptions:{name}": described("clip", **changes) for name, changes in ADDED.items()}
METHODS |= {f"descriptions:{base}": described(base) for base in ("vse", "vse-inf", "ditm-margin")}


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    method = build_method(METHODS[request.param], PARAMETERS.embedding, WIDTHS)
    for addition in method.added.values():
        addition.start({"prototypes": torch.randn(WIDTHS.prototypes, WIDTHS.description_width)})
    return method


def features(rows: int, width: int, seed: int) -> Features:
    """Random features of images (IMAGE_WIDTH) or texts; texts have one to POSITIONS tokens."""
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(rows, width, generator=generator)
    image = width == IMAGE_WIDTH
    tokens = torch.randn(rows, POSITIONS, WIDTHS.image_tokens if image else WIDTHS.text_tokens, generator=generator)
    lengths = torch.randint(1, POSITIONS + 1, (rows, 1), generator=generator)
    mask = torch.ones(rows, POSITIONS, dtype=torch.bool) if image else torch.arange(POSITIONS) < lengths
    vectors = torch.nn.functional.normalize(torch.randn(rows, WIDTHS.description_width, generator=generator), dim=1)
    vectors[rows // 2 :: 3] = 0  # nothing is known of some
    return Features(pooled, tokens, mask, {"description" if image else "caption": vectors})


def part(given: Features, rows: slice) -> Features:
    assert given.tokens is not None
    assert given.mask is not None
    vectors = {name: values[rows] for name, values in given.description_vectors.items()}
    return Features(given.pooled[rows], given.tokens[rows], given.mask[rows], vectors)


def labels(owner: torch.Tensor | None = None, images: int = IMAGES) -> Labels:
    generator = torch.Generator().manual_seed(3)
    if owner is None:
        owner = torch.arange(images).repeat_interleave(CAPTIONS_EACH)
    texts = len(owner)
    return Labels(
        positives=owner.unsqueeze(0) == torch.arange(images).unsqueeze(1),
        owner=owner,
        descriptiveness=torch.rand(texts, generator=generator),
        image_descriptiveness=torch.rand(images, generator=generator),
        containment=torch.rand(images, texts, generator=generator),
        image_rows=torch.arange(images) * 7,
        text_rows=torch.arange(texts) * 3,
        image_same=torch.arange(images) * 5,
        text_same=owner * 5,
    )


def step(method: Method, epoch: int = 50) -> tuple[Embedded, Embedded, Context]:
    images = method.encode_image(features(IMAGES, IMAGE_WIDTH, 1))
    texts = method.encode_text(features(IMAGES * CAPTIONS_EACH, TEXT_WIDTH, 2))
    return images, texts, Context(epoch=epoch, root=method.encode_text(features(1, TEXT_WIDTH, 5)))
