"""Every block behind an option of `ditm`: 3 x 3 examples by hand, literal loops, finite differences, and what is
refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from itm.config.losses import DitmParameters, OrderForm, VseParameters
from itm.config.parameters import validate
from itm.errors import ConfigError
from itm.methods.functional.hinge import hinge, symmetric_hinge
from itm.methods.functional.info_nce import info_nce, sigmoid_loss
from itm.methods.functional.noise import pair_noise
from itm.methods.losses.ditm.loss import DitmLoss
from itm.methods.losses.ditm.order import Lists, list_order, mined, own_lists, with_mined
from itm.methods.losses.ditm.relaxation import Evidence, Refinement, evidence, gate_of, refine, text_cosine
from itm.methods.losses.vse import VseLoss
from itm.methods.method import Context, Embedded, Labels, Losses

sys.path.insert(0, str(Path(__file__).parent))
from conftest import PARAMETERS, VARIANTS, labels, variant

# Three images and their captions; the first caption is generic, the last specific. All figures by hand.
SIMILARITIES = torch.tensor([[0.5, 0.6, 0.4], [0.3, 0.7, 0.2], [0.1, 0.0, 0.8]], dtype=torch.float64)
DIAGONAL = torch.eye(3, dtype=torch.bool)
SCORE = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
GATE = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.5], [0.0, 1.0, 1.0]], dtype=torch.float64)
EACH = ("hardest", "sum", "semi_hard", "mean")


def matching(options: DitmParameters, logits: Callable[[Tensor], Tensor]) -> Callable[..., Losses]:
    """The matching term with logits of one's own."""
    loss = DitmLoss(options)
    loss.logits = logits  # type: ignore[method-assign]
    return loss.matching


def listed(mask: Tensor) -> Lists:
    """Lists that hold each caption once."""
    return Lists(torch.arange(mask.numel()).reshape(mask.shape), mask)


def three() -> Labels:
    rows = torch.arange(3)
    return Labels(DIAGONAL, rows, SCORE, SCORE, GATE, rows, rows)


def test_weighted_and_semi_hard_hinge_by_hand() -> None:
    """Margin 0.2. Against the positives 0.5, 0.7, 0.8 the hinge values are 0.3 and 0.1 in the first row, else 0."""
    for mining, expected in {"hardest": 0.3, "semi_hard": 0.1, "sum": 0.4, "mean": 0.2}.items():
        assert hinge(SIMILARITIES, DIAGONAL, 0.2, mining).item() == pytest.approx(expected / 3)  # type: ignore[arg-type]
    weight = torch.tensor([[1.0, 0.25, 1.0]] * 3, dtype=torch.float64)  # 0.3 falls to 0.075: the other one is hardest
    assert hinge(SIMILARITIES, DIAGONAL, 0.2, "hardest", weight).item() == pytest.approx(0.1 / 3)
    assert hinge(SIMILARITIES, DIAGONAL, 0.2, "sum", weight).item() == pytest.approx(0.175 / 3)


def test_weighted_info_nce_by_hand() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    positives, weight = torch.tensor([[True, False, False]]), torch.tensor([[1.0, 0.5, 0.0]])
    expected = math.log(1 + 0.5 * math.exp(1) / math.exp(2))
    assert info_nce(logits, positives, weight).item() == pytest.approx(expected)
    assert info_nce(logits, positives, torch.zeros(1, 3)).item() == 0


def test_sigmoid_by_hand() -> None:
    logits = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    targets = torch.tensor([[1.0, 0.25], [0.0, 1.0]])
    yes, no = (lambda x: math.log(1 + math.exp(-x))), (lambda x: math.log(1 + math.exp(x)))
    rows = [yes(1) + 0.25 * yes(-1) + 0.75 * no(-1), no(0) + yes(2)]
    assert sigmoid_loss(logits, targets).item() == pytest.approx(sum(rows) / 2)
    weight = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    rows = [yes(1) + 0.25 * yes(-1), 0.5 * no(0) + yes(2)]
    assert sigmoid_loss(logits, targets, weight).item() == pytest.approx(sum(rows) / 2)


def test_margins_and_weights_by_hand() -> None:
    """m0 0.2, w 1, floor 0: a generic caption of a relevant image loses its gap, 0.4 or 0.8, of margin or weight."""
    found = evidence(variant(), three(), None)
    relative = refine(variant(base="hinge", refinement="relative_margin"), three(), found, 0)
    weight = refine(variant(base="hinge", refinement="triplet_weight"), three(), found, 0)
    kept = [[1.0, 1.0, 1.0], [0.6, 1.0, 1.0], [1.0, 0.6, 1.0]]
    assert relative.margin is not None
    assert weight.weight is not None
    assert relative.margin.tolist() == [pytest.approx([0.2 * share for share in row]) for row in kept]
    assert weight.weight.tolist() == [pytest.approx(row) for row in kept]
    assert weight.relaxed_share(DIAGONAL) == relative.relaxed_share(DIAGONAL) == pytest.approx(2 / 6)
    absolute = refine(variant(base="hinge", refinement="absolute_margin"), three(), found, 0).margin
    expected = [[0.02, 0.1, 0.2], [0.02, 0.1, 0.5 * 0.2 + 0.5 * 0.18], [0.2, 0.1, 0.18]]
    assert absolute is not None
    assert absolute.tolist() == [pytest.approx(row) for row in expected]
    floor = refine(variant(base="hinge", refinement="absolute_margin", margin_floor=0.3), three(), found, 0).margin
    assert floor is not None
    assert floor[0].tolist() == pytest.approx([0.06, 0.1, 0.2])


def test_soft_targets_of_weight_0_relax_nothing() -> None:
    """The control ditm-fixed: what weighs labels stays, no negative is changed, in the batch or in a queue."""
    fixed = variant(soft_weight=0.0, label_slope=4.0)
    refinement = refine(fixed, three(), evidence(fixed, three(), None), 0)
    assert refinement.relaxed_share(DIAGONAL) == 0
    assert refinement.label_weight is not None
    assert DitmLoss(fixed).negative_share(three(), Context()) is None
    assert DitmLoss(variant()).negative_share(three(), Context()) is not None


def test_what_passes_the_threshold_is_masked_or_a_positive() -> None:
    """Relevance is gate x clip(1 - difference, 0, 1); above 0.5 are: (0, 1) 0.6, (1, 0) 1 and (2, 1) 1."""
    found = evidence(variant(), three(), None)
    likely = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    masked = refine(variant(refinement="masked", soft_threshold=0.5), three(), found, 0)
    assert masked.weight is not None
    assert torch.equal(masked.weight == 0, likely)
    pseudo = refine(variant(refinement="pseudo_positives", soft_threshold=0.5), three(), found, 0)
    assert pseudo.pseudo is not None
    assert torch.equal(pseudo.pseudo, likely)
    alone = refine(variant(refinement="masked", soft_threshold=0.5, direction=False), three(), found, 0)
    assert alone.weight is not None
    assert torch.equal(alone.weight == 0, (GATE > 0.5) & ~DIAGONAL)


def test_masked_and_pseudo_positive_losses_by_hand() -> None:
    """Hinge with margin 0.2 over all negatives, with (0, 1), (1, 0) and (2, 1) out of the negatives."""
    options = variant(base="hinge", refinement="masked", soft_weight=0.5)
    likely = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    masked = matching(options, lambda s: s)(
        SIMILARITIES, DIAGONAL, Refinement(weight=(~likely).double(), relaxed=likely), "sum"
    )
    # rows: 0.2 + 0.4 - 0.5 of caption 2; columns: 0.2 + s - positive of (1 0 masked) (2 0): 0 (0 1 masked) (2 1 masked)
    # (0 2) (1 2): 0
    assert masked.terms["hinge"].value.item() == pytest.approx(0.1 / 3)
    pseudo = matching(options, lambda s: s)(SIMILARITIES, DIAGONAL, Refinement(pseudo=likely), "sum")
    assert pseudo.terms["hinge"].value.item() == pytest.approx(0.1 / 3)
    # pseudo-positives 0.6, 0.3, 0.0 against caption 2 in rows 0 and 1 and caption 0 in row 2: 0, 0.1, 0.3; in columns
    # (1, 0) against image 2: 0.2 + 0.1 - 0.3 = 0; those of caption 1 have no negative left
    assert pseudo.terms["pseudo_positives"].value.item() == pytest.approx(0.4 / 3)
    assert pseudo.terms["pseudo_positives"].weight == 0.5


def test_additive_margin_lifts_negatives_before_the_softmax() -> None:
    options = variant(base="additive_margin", refinement="none", margin=0.3)
    found = matching(options, lambda s: s / 0.5)(SIMILARITIES, DIAGONAL, Refinement(), "sum").terms
    lifted = (SIMILARITIES + 0.3 * ~DIAGONAL) / 0.5
    expected = (info_nce(lifted, DIAGONAL) + info_nce(lifted.T, DIAGONAL)) / 2
    assert found["additive_margin"].value.item() == pytest.approx(expected.item())


def test_text_cosine_is_the_best_of_an_images_captions() -> None:
    texts = torch.nn.functional.normalize(torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    owner = torch.tensor([2, 0, 1, 0, 2, 2, 1])
    gate = text_cosine(texts.requires_grad_(), owner, 4)
    assert not gate.requires_grad
    for a in range(4):
        for b in range(7):
            cosines = [(texts[c] @ texts[b]).item() for c in range(7) if owner[c] == a]
            assert gate[a, b].item() == pytest.approx(min(1, max([0.0, *cosines])), abs=1e-6)
    with pytest.raises(ValueError, match="needs embedded texts"):
        gate_of("text_cosine", three(), None)
    bare = Labels(DIAGONAL, torch.arange(3), SCORE, SCORE)
    with pytest.raises(ValueError, match=r"needs Labels\.containment"):
        gate_of("containment", bare, None)


def test_noise_belongs_to_the_pair_and_the_step() -> None:
    images, texts = torch.arange(200), torch.arange(300)
    noise = pair_noise(5, images, texts)
    order, turned = torch.randperm(200), torch.randperm(300)
    assert torch.equal(pair_noise(5, images[order], texts[turned]), noise[order][:, turned])
    assert torch.equal(pair_noise(5, images, texts), noise)
    assert noise.min() >= 0
    assert noise.max() < 1
    counts = torch.histc(noise, 20, 0, 1) / noise.numel()
    assert (counts - 0.05).abs().max() < 0.004  # four standard deviations of a uniform draw
    others = [pair_noise(6, images, texts), pair_noise(5, images, texts + 1), pair_noise(5, images + 1, texts)]
    for other in others:
        assert abs(torch.corrcoef(torch.stack([noise.flatten(), other.flatten()]))[0, 1]) < 0.02
    assert pair_noise(2**40, images + 2**31, texts + 2**40).isfinite().all()


def test_negatives_are_left_out_as_often_as_their_weight_says() -> None:
    rows = torch.arange(120)
    same = torch.zeros(120, 120, dtype=torch.bool)
    truth = Labels(same, rows, torch.full((120,), 0.2), torch.full((120,), 0.9), None, rows, rows)
    found = Evidence(torch.full((120, 120), -0.7), torch.ones(120, 120))
    options = variant(base="hinge", refinement="negative_sampling")
    first, again, later = (refine(options, truth, found, step).weight for step in (3, 3, 4))
    assert first is not None
    assert again is not None
    assert later is not None
    assert first.mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    truth.image_rows = None
    with pytest.raises(ValueError, match="image_rows"):
        refine(options, truth, found, 0)


def test_without_direction_the_gate_alone_decides() -> None:
    truth = three()
    other = Labels(DIAGONAL, truth.owner, SCORE.flip(0), SCORE.flip(0) / 2, GATE, truth.image_rows, truth.text_rows)
    for changes in VARIANTS.values():
        options = variant(**{**changes, "gate": "containment", "direction": False, "mined_captions": 0})
        first, second = (refine(options, each, evidence(options, each, None), 1) for each in (truth, other))
        for name in ("margin", "weight", "relevance", "pseudo", "relaxed"):
            one, two = getattr(first, name), getattr(second, name)
            assert (one is None and two is None) or torch.equal(one, two)


# --- order terms -----------------------------------------------------------------------------------------------------

LIST = (
    torch.tensor([[0.1, 0.5, 0.4]]),
    torch.tensor([[0.0, 0.5, 1.0]]),
    Lists(torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool)),
)


def test_order_forms_by_hand() -> None:
    by_hand: dict[OrderForm, float] = {
        # rises 0.05, 0.1, 0.05 asked, 0.4, 0.3, -0.1 found: only the last pair lacks 0.15
        "pairwise": 0.15 / 3,
        # rung 1: least above 0.4, largest below 0.1; rung 2: 0.4 and 0.5
        "ladder": (0 + 0.1 - 0.4 + 0.5) / 2,
        "listmle": (
            math.log(math.exp(0.4) + math.exp(0.5) + math.exp(0.1))
            - 0.4
            + math.log(math.exp(0.5) + math.exp(0.1))
            - 0.5
        )
        / 2,
    }
    for form, expected in by_hand.items():
        assert list_order(form, *LIST, 0.1, 0.05, 1.0).item() == pytest.approx(expected, abs=1e-6)
    wanted = torch.softmax(torch.tensor([0.0, 0.05, 0.1]), 0)
    found = torch.softmax(torch.tensor([0.1, 0.5, 0.4]), 0)
    expected = (wanted * (wanted.log() - found.log())).sum().item()
    assert list_order("kl", *LIST, 0.1, 0.05, 1.0).item() == pytest.approx(expected, abs=1e-6)


@given(seed=st.integers(0, 10_000), gap=st.sampled_from([0.0, 0.05, 0.4]), form=st.sampled_from(["ladder", "listmle"]))
def test_order_forms_equal_literal_loops(seed: int, gap: float, form: OrderForm) -> None:
    values, score, mask = _padded(seed)
    expected = []
    for row in range(len(values)):
        places = [place for place in range(values.shape[1]) if mask[row, place]]
        v, d = values[row].tolist(), score[row].tolist()
        for q in places:
            below = [p for p in places if score[row, q] - score[row, p] > gap]
            if below and form == "ladder":
                above = [k for k in places if d[k] >= d[q]]
                expected.append(max(0.0, 0.1 - min(v[k] for k in above) + max(v[p] for p in below)))
            elif below:
                expected.append(math.log(sum(math.exp(v[p] / 0.5) for p in [q, *below])) - v[q] / 0.5)
    found = list_order(form, values, score, listed(mask), 0.1, gap, 0.5).item()
    assert found == pytest.approx(sum(expected) / len(expected) if expected else 0)


@pytest.mark.parametrize("form", ["pairwise", "ladder", "listmle", "kl"])
def test_an_order_needs_captions_that_differ(form: OrderForm) -> None:
    values = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    every = torch.ones(3, 2, dtype=torch.bool)
    for score, mask in ((torch.full((3, 2), 0.5), every), (torch.rand(3, 2), every & torch.tensor([True, False]))):
        value = list_order(form, values, score.double(), listed(mask), 0.1, 0.0, 0.1)
        (gradient,) = torch.autograd.grad(value, values)
        assert value.item() == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("form", ["pairwise", "ladder", "listmle", "kl"])
def test_an_ordered_list_costs_less_than_its_reverse(form: OrderForm) -> None:
    values, score, mask = torch.tensor([[0.1, 0.2, 0.3]]), LIST[1], LIST[2]
    forth = list_order(form, values, score, mask, 0.1, 0.05, 0.1)
    back = list_order(form, values.flip(1), score, mask, 0.1, 0.05, 0.1)
    assert forth < back


def test_mined_captions_pass_the_gate_and_are_more_generic() -> None:
    """Gate at least 0.9 and a lower score than the image: caption 0 for image 1, caption 1 for image 2."""
    options = variant(mined_captions=1, mined_threshold=0.9)
    found = evidence(options, three(), None)
    candidates = mined(options, three(), found)
    assert candidates.tolist() == [[False, False, False], [True, False, False], [False, True, False]]
    lists = with_mined(own_lists(torch.arange(3), 3), candidates, SIMILARITIES, 5)
    members = [lists.index[row][lists.mask[row]].tolist() for row in range(3)]
    assert members == [[0], [1, 0], [2, 1]]


@pytest.mark.parametrize(("mixing", "weight"), [("added", 0.0), ("added", 0.4), ("share", 0.4)])
def test_label_slope_by_hand(mixing: str, weight: float) -> None:
    """One image, captions with dn 0 and 1, kappa 3: they count 1 and 4, and nothing is there beside them."""
    options = variant(label_slope=3.0, soft_weight=weight, soft_mixing=mixing, soft_threshold=0.0)
    truth = labels(images=1)
    truth.descriptiveness = torch.tensor([0.0, 1.0])
    refinement = refine(options, truth, evidence(options, truth, None), 0)
    assert refinement.label_weight is not None
    assert refinement.label_weight.tolist() == [1.0, 4.0]
    found = matching(options, lambda s: s)(torch.tensor([[0.5, -0.5]]), truth.positives, refinement, "sum")
    normaliser = math.log(math.exp(0.5) + math.exp(-0.5))
    # the captions' side has one image to choose from and costs nothing
    assert found.total().item() == pytest.approx((normaliser - 0.2 * 0.5 + 0.8 * 0.5) / 2)


def test_without_a_slope_labels_count_alike() -> None:
    assert refine(variant(), labels(), evidence(variant(), labels(), None), 0).label_weight is None
    assert refine(variant(soft_weight=0.0), labels(), evidence(variant(), labels(), None), 0).relevance is None


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in VARIANTS if "order" not in name and "mined" not in name])
def test_matching_gradients_agree_with_finite_differences(name: str) -> None:
    options = variant(**{"soft_threshold": 0.3, **VARIANTS[name]})
    truth, texts = _double_labels(), torch.nn.functional.normalize(torch.rand(6, 5, dtype=torch.float64), dim=1)
    refinement = refine(options, truth, evidence(options, truth, texts), 2)
    terms = matching(options, lambda s: s * 3 - (1 if options.base == "sigmoid" else 0))

    def total(similarities: Tensor) -> Tensor:
        return terms(similarities, truth.positives, refinement, options.mining).total()

    assert torch.autograd.gradcheck(total, (_similarities().requires_grad_(),))


@pytest.mark.parametrize("form", ["pairwise", "ladder", "listmle", "kl"])
@pytest.mark.parametrize("limit", [0, 2])
def test_order_gradients_agree_with_finite_differences(form: OrderForm, limit: int) -> None:
    truth = _double_labels()
    lists = own_lists(truth.owner, 3)
    if limit:
        candidates = ~truth.positives & (truth.descriptiveness.unsqueeze(0) < truth.image_descriptiveness.unsqueeze(1))
        lists = with_mined(lists, candidates, _similarities(), limit)

    def total(similarities: Tensor) -> Tensor:
        dn = lists.of_texts(truth.descriptiveness)
        return list_order(form, lists.of_pairs(similarities), dn, lists, 0.1, 0.0, 0.3)

    assert torch.autograd.gradcheck(total, (_similarities().requires_grad_(),))


def test_the_gate_and_the_mined_set_send_no_gradient() -> None:
    options = variant(gate="text_cosine", soft_threshold=0.0)
    texts = torch.rand(6, 5, requires_grad=True)
    found = evidence(options, labels(torch.arange(3).repeat_interleave(2), 3), Embedded(texts).embedding)
    assert not found.gate.requires_grad


# --- what is refused -------------------------------------------------------------------------------------------------


def _check(**changes: object) -> Callable[[], object]:
    values = PARAMETERS.model_dump()
    loss = values["method"]["ditm"]["loss"]
    loss |= changes
    values["train"]["captions_per_image"] = loss.pop("captions", 2)
    return lambda: validate(values, "params.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"refinement": "relative_margin"},
            r"method.ditm.loss: refinement 'relative_margin' does not go with base 'info_nce'; it goes with hinge",
        ),
        ({"base": "sigmoid", "label_slope": 1.0}, "label_slope weighs the targets of a softmax, and base 'sigmoid'"),
        ({"base": "hinge"}, r"refinement 'soft_targets' does not go with base 'hinge'; it goes with info_nce, sigmoid"),
        (
            {"refinement": "masked", "gate": "none", "direction": False},
            r"refinement 'masked' has nothing to go by: gate is 'none' and direction false",
        ),
        (
            {"mined_captions": 2, "order_weight": 0.0, "radius_weight": 0.0},
            r"order_weight and radius_weight are both 0",
        ),
        ({"mined_captions": 2, "gate": "none"}, r"mined_captions need a gate"),
        (
            {"order_form": "kl", "order_margin": 0.0, "order_weight": 1.0},
            r"order_form 'kl' with order_margin 0 asks for equal values",
        ),
        ({"order_form": "kl", "radius_margin": 0.0}, r"order_form 'kl' with radius_margin 0"),
        (
            {"captions": 1},
            r"method.ditm orders an image's captions, but a batch holds 1 of each; set train.captions_per",
        ),
        ({"order_form": "listmel"}, r"method.ditm.loss.order_form = 'listmel': .*did you mean 'listmle'\?"),
        ({"gate": "text_cosin"}, r"did you mean 'text_cosine'\?"),
        ({"mined_threshold": 0.0}, r"method.ditm.loss.mined_threshold = 0.0: .*greater than 0"),
        ({"mining": "mean"}, r"method.ditm.loss.mining = 'mean': "),
        ({"base": "triplet"}, r"method.ditm.loss.base = 'triplet': "),
        ({"order_temperature": 0}, r"order_temperature = 0: .*greater than 0"),
        ({"order_temprature": 0.1}, r"order_temprature: unknown key; did you mean 'order_temperature'\?"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _check(**changes)()


def test_one_caption_an_image_is_enough_without_own_pairs() -> None:
    _check(captions=1, order_weight=0.0, radius_weight=0.0)()
    _check(captions=1, mined_captions=4)()


def _similarities() -> Tensor:
    return torch.rand(3, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 2 - 1


def _double_labels() -> Labels:
    truth = labels(torch.arange(3).repeat_interleave(2), 3)
    truth.descriptiveness = truth.descriptiveness.double()
    truth.image_descriptiveness = truth.image_descriptiveness.double()
    assert truth.containment is not None
    truth.containment = truth.containment.double()
    return truth


def _padded(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(4, 4, generator=generator, dtype=torch.float64)
    score = torch.randint(0, 5, (4, 4), generator=generator).double() / 4  # with ties
    return values, score, torch.rand(4, 4, generator=generator) < 0.8


@pytest.mark.parametrize(("epoch", "terms"), [(1, {"info_nce"}), (2, {"soft_targets", "order"})])
def test_negatives_are_relaxed_and_captions_ordered_after_the_warm_up(epoch: int, terms: set[str]) -> None:
    loss = DitmLoss(variant(warmup_epochs=2, radius_weight=0.0))
    vectors = Embedded(torch.eye(3))
    found = loss.losses(SIMILARITIES, vectors, vectors, three(), Context(epoch=epoch))
    assert set(found.terms) == terms
    assert (loss.negative_share(three(), Context(epoch=epoch)) is None) is (epoch < 2)


@pytest.mark.parametrize(("epoch", "mining"), [(1, "mean"), (2, "hardest")])
def test_the_hinge_of_vse_takes_the_hardest_negative_after_the_warm_up(epoch: int, mining: str) -> None:
    given = {**PARAMETERS.method["vse"].loss.model_dump(), "warmup_epochs": 2, "mining": "hardest"}
    loss = VseLoss(VseParameters.model_validate(given))
    vectors = Embedded(torch.eye(3))
    found = loss.losses(SIMILARITIES, vectors, vectors, three(), Context(epoch=epoch)).terms["hinge"].value
    assert found == symmetric_hinge(SIMILARITIES, DIAGONAL, loss.options.margin, mining)
