"""What every method must satisfy, whatever it computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from itm.methods.losses.ditm.loss import DitmLoss
from itm.methods.losses.ditm.relaxation import evidence, refine
from itm.methods.method import Context, Method

sys.path.insert(0, str(Path(__file__).parent))
from conftest import CAPTIONS_EACH, IMAGE_WIDTH, IMAGES, POSITIONS, TEXT_WIDTH, features, labels, part, step


@pytest.mark.parametrize("epoch", [0, 50])
def test_loss_and_gradients_are_finite(method: Method, epoch: int) -> None:
    images, texts, context = step(method, epoch)
    losses = method.losses(images, texts, labels(), context)
    losses.total().backward()
    gradients = [p.grad for p in method.parameters() if p.requires_grad]
    assert torch.isfinite(losses.total())
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    assert all(g is None or torch.isfinite(g).all() for g in gradients)


def test_score_is_the_inner_product_of_the_index_vectors(method: Method) -> None:
    if method.kind != "dot":
        pytest.skip("pairwise method: it has no index vectors")
    images, texts, _ = step(method.eval())
    torch.testing.assert_close(method.score(images, texts), method.index_image(images) @ method.index_text(texts).T)


def test_score_does_not_depend_on_the_rest_of_the_batch(method: Method) -> None:
    method.eval()
    image, text = features(IMAGES, IMAGE_WIDTH, 1), features(IMAGES, TEXT_WIDTH, 2)
    whole = method.score(method.encode_image(image), method.encode_text(text))
    one = method.score(method.encode_image(part(image, slice(2, 3))), method.encode_text(part(text, slice(4, 5))))
    torch.testing.assert_close(one[0, 0], whole[2, 4])


def test_loss_does_not_depend_on_the_order_of_the_batch(method: Method) -> None:
    method.eval()
    images, texts, context = step(method)
    truth = labels()
    before = method.losses(images, texts, truth, context).total()
    order, text_order = torch.randperm(IMAGES), torch.randperm(IMAGES * CAPTIONS_EACH)
    place = torch.empty_like(order)
    place[order] = torch.arange(IMAGES)
    shuffled = replace(
        truth,
        positives=truth.positives[order][:, text_order],
        owner=place[truth.owner[text_order]],
        descriptiveness=truth.descriptiveness[text_order],
        image_descriptiveness=truth.image_descriptiveness[order],
        containment=None if truth.containment is None else truth.containment[order][:, text_order],
        image_rows=None if truth.image_rows is None else truth.image_rows[order],
        text_rows=None if truth.text_rows is None else truth.text_rows[text_order],
        image_same=None if truth.image_same is None else truth.image_same[order],
        text_same=None if truth.text_same is None else truth.text_same[text_order],
    )
    after = method.losses(
        images.rows(order),
        texts.rows(text_order),
        shuffled,
        context,
    ).total()
    torch.testing.assert_close(before, after)


def test_copies_of_an_image_are_never_negatives(method: Method) -> None:
    """All rows are copies of one image: nothing is left to push apart, so a matching term has no gradient."""
    method.eval()
    images, texts, context = step(method)
    truth = labels()
    truth.positives = torch.ones_like(truth.positives)
    truth.descriptiveness = torch.zeros_like(truth.descriptiveness)  # no order between captions either
    leaves = [each for each in (images.embedding, images.tokens) if each is not None and each.requires_grad]
    if not leaves:
        pytest.skip("embeddings that nothing trains")
    for leaf in leaves:
        leaf.retain_grad()
    losses = method.losses(images, texts, truth, context)
    losses.total().backward()
    loss = method.loss
    if isinstance(loss, DitmLoss) and (loss.options.base == "sigmoid" or "soft_targets" in losses.terms):
        similarities = torch.zeros_like(truth.positives, dtype=torch.float, requires_grad=True)
        found = evidence(loss.options, truth, texts.embedding)
        refinement = refine(loss.options, truth, found, 0)
        loss.matching(similarities, truth.positives, refinement, "sum").total().backward()
        assert similarities.grad is not None
        if loss.options.base == "sigmoid":  # each pair has its own "yes", whatever else is true
            assert (similarities.grad < 0).all()
        else:  # graded targets spread a caption's mass evenly over the copies: equal similarities are their optimum
            assert similarities.grad.abs().max() * loss.temperature.value() < 1e-8
    else:
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        assert gradients
        assert all(gradient.abs().max() < 1e-7 for gradient in gradients)


def test_a_batch_of_one_image_is_no_fault(method: Method) -> None:
    images = method.encode_image(features(1, IMAGE_WIDTH, 1))
    texts = method.encode_text(features(CAPTIONS_EACH, TEXT_WIDTH, 2))
    context = Context(epoch=50, root=method.encode_text(features(1, TEXT_WIDTH, 5)))
    losses = method.losses(images, texts, labels(images=1), context)
    losses.total().backward()
    assert torch.isfinite(losses.total())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_padding_changes_no_score(method: Method) -> None:
    method.eval()
    image, text = features(IMAGES, IMAGE_WIDTH, 1), features(IMAGES, TEXT_WIDTH, 2)
    before = method.score(method.encode_image(image), method.encode_text(text))
    for given in (image, text):
        assert given.tokens is not None
        assert given.mask is not None
        noise = torch.randn_like(given.tokens)
        given.tokens = torch.cat([torch.where(given.mask[..., None], given.tokens, noise), noise], 1)
        given.mask = torch.cat([given.mask, torch.zeros_like(given.mask)], 1)
    assert given.mask is not None
    assert given.mask.shape[1] == 2 * POSITIONS
    torch.testing.assert_close(method.score(method.encode_image(image), method.encode_text(text)), before)


def test_state_survives_a_round_trip(method: Method) -> None:
    state = {name: value.clone() for name, value in method.state_dict().items()}
    before = method.eval().encode_image(features(3, IMAGE_WIDTH, 9)).embedding.detach()
    for parameter in method.parameters():
        parameter.data.add_(1)
    method.load_state_dict(state)
    assert torch.equal(before, method.encode_image(features(3, IMAGE_WIDTH, 9)).embedding)
