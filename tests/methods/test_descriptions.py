"""The addition `descriptions`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from itm.config.describe import DescriptionsParameters
from itm.errors import ModelError
from itm.methods import build
from itm.methods.additions.descriptions import Descriptions, Fusion
from itm.methods.method import Context, Embedded
from itm.methods.similarities.heads import HeadsSimilarity
from itm.towers.base import Features

sys.path.insert(0, str(Path(__file__).parent))
from conftest import PARAMETERS, WIDTHS, described, labels, step


def options(**changes: object) -> DescriptionsParameters:
    added = PARAMETERS.method["vsd"].add.descriptions
    assert added is not None
    return DescriptionsParameters.model_validate(added.model_dump() | changes)


def units(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_sum_of_equal_widths_is_the_published_fusion() -> None:
    v, b = units(5, 4), units(5, 4, 1)
    fusion = Fusion(options(fusion="sum"), 4, 4)
    assert not list(fusion.parameters())
    torch.testing.assert_close(fusion(v, b), functional.normalize(v + b, dim=1))
    heavier = Fusion(options(fusion="sum", weight=2.0), 4, 4)
    torch.testing.assert_close(heavier(v, b), functional.normalize(v + 2 * b, dim=1))


def test_other_widths_go_through_a_trained_map() -> None:
    fusion = Fusion(options(fusion="sum"), 3, 4)
    assert [tuple(p.shape) for p in fusion.parameters()] == [(4, 3)]
    fusion(units(5, 4), units(5, 3)).sum().backward()
    assert all(p.grad is not None for p in fusion.parameters())


@pytest.mark.parametrize("kind", ["sum", "gate"])
@pytest.mark.parametrize("width", [3, 4])
def test_a_row_without_a_description_stays_as_it_is(kind: str, width: int) -> None:
    torch.manual_seed(0)
    v, b = units(4, 4), units(4, width, 1)
    b[1] = 0
    found = Fusion(options(fusion=kind), width, 4)(v, b)
    assert torch.equal(found[1], v[1])
    assert not torch.allclose(found[0], v[0])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))


def test_a_gap_gives_no_gradient_that_is_not_a_number() -> None:
    torch.manual_seed(0)
    v = units(3, 4).requires_grad_()
    fusion = Fusion(options(fusion="sum"), 3, 4)
    fusion(v, torch.zeros(3, 3)).square().sum().backward()
    assert v.grad is not None
    assert torch.isfinite(v.grad).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in fusion.parameters())


def test_the_gate_lies_between_both() -> None:
    torch.manual_seed(0)
    fusion = Fusion(options(fusion="gate"), 4, 4)
    assert fusion.gate is not None
    torch.nn.init.zeros_(fusion.gate.weight)
    v, b = units(5, 4), units(5, 4, 1)
    for bias, expected in ((20.0, v), (-20.0, b), (0.0, functional.normalize(v + b, dim=1))):
        torch.nn.init.constant_(fusion.gate.bias, bias)
        torch.testing.assert_close(fusion(v, b), expected, atol=1e-5, rtol=0)


def test_only_is_the_sentence_encoder_alone() -> None:
    torch.manual_seed(0)
    method = build.build_method(PARAMETERS.method["vsd-only"], PARAMETERS.embedding, WIDTHS).eval()
    images, texts, _ = step(method)
    b = units(2, WIDTHS.description_width)
    image = method.encode_image(Features(torch.randn(2, WIDTHS.image), description_vectors={"description": b}))
    text = method.encode_text(Features(torch.randn(2, WIDTHS.text), description_vectors={"caption": b.flip(0)}))
    torch.testing.assert_close(method.score(image, text), b @ b.flip(0).T)
    nothing = method.encode_text(
        Features(torch.randn(1, WIDTHS.text), description_vectors={"caption": torch.zeros(1, WIDTHS.description_width)})
    )
    torch.testing.assert_close(nothing.embedding.norm(dim=1), torch.ones(1))  # benchmarks ask for its direction
    losses = method.losses(images, texts, labels(), Context())
    losses.total().backward()
    trained = [name for name, p in method.named_parameters() if p.grad is not None]
    assert len(trained) == 1
    assert "temperature" in trained[0]


def test_features_without_a_side_are_left_alone() -> None:
    addition = Descriptions(options(), 3, 4, 2)
    embedded = Embedded(units(2, 4))
    assert addition.image(embedded, Features(torch.zeros(2, 5))) is embedded
    assert addition.text(embedded, Features(torch.zeros(2, 5))) is embedded


def test_prototypes_are_kept_with_the_model_and_never_trained() -> None:
    method = build.build_method(PARAMETERS.method["vsd"], PARAMETERS.embedding, WIDTHS)
    given = torch.randn(WIDTHS.prototypes, WIDTHS.description_width)
    for addition in method.added.values():
        addition.start({"prototypes": given})
    assert torch.equal(method.exported()["additions.descriptions.prototypes"], given)
    assert "additions.descriptions.prototypes" not in dict(method.named_parameters())
    images, texts, context = step(method)
    losses = method.losses(images, texts, labels(), context)
    assert losses.terms["description_prototypes"].weight == 1.0
    losses.total().backward()
    again = build.build_method(PARAMETERS.method["vsd"], PARAMETERS.embedding, WIDTHS)
    again.load_state_dict(method.state_dict())
    assert torch.equal(again.state_dict()["additions.descriptions.prototypes"], given)


def test_the_prototype_term_is_the_swapped_prediction_by_hand() -> None:
    """Equal widths: centres as they are; one image, one caption, each of its own centre."""
    addition = Descriptions(options(epsilon=0.5, iterations=1, prototype_temperature=1.0), 2, 2, 2)
    addition.start({"prototypes": torch.tensor([[2.0, 0.0], [0.0, 0.5]])})
    found = addition.losses(
        None,  # type: ignore[arg-type]
        Embedded(torch.tensor([[1.0, 0.0]])),
        Embedded(torch.tensor([[0.0, 1.0]])),
        labels(owner=torch.zeros(1, dtype=torch.long), images=1),
        Context(),
    )
    # one row: equal use of both prototypes leaves codes of one half each
    each = -(torch.log_softmax(torch.tensor([1.0, 0.0]), 0) / 2).sum()
    torch.testing.assert_close(found.terms["description_prototypes"].value, 2 * each)


def test_it_goes_with_every_base_that_has_index_vectors() -> None:
    for base in PARAMETERS.method:
        similarity = build.build_similarity(PARAMETERS.method[base].similarity, PARAMETERS.embedding, WIDTHS)
        if similarity.kind != "dot":
            continue
        method = build.build_method(described(base), PARAMETERS.embedding, WIDTHS)
        images, texts, context = step(method)
        assert torch.isfinite(method.losses(images, texts, labels(), context).total())


def test_a_pairwise_base_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(HeadsSimilarity, "kind", "pairwise")
    with pytest.raises(ModelError, match=r"add\.descriptions: similarity 'heads' compares tokens"):
        build.build_method(PARAMETERS.method["vsd"], PARAMETERS.embedding, WIDTHS)
