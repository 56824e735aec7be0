"""The two similarities of ESL against loops over pairs and levels, and what training alone does to them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from presets import preset

from itm.config.model import EmbeddingParameters
from itm.config.similarities import EslGlobalParameters, EslTokenParameters
from itm.methods.method import Embedded, Widths
from itm.methods.similarities.esl_global import EslGlobalSimilarity
from itm.methods.similarities.esl_token import EslTokenSimilarity
from itm.towers.base import Features

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "benchmarks"))
from esl_scoring import loop_global, loop_tokens  # noqa: E402

METHOD = preset("scenes").method
EMBEDDING = EmbeddingParameters(dimension=16, layers=1, hidden=16, dropout=0.0)
WIDTHS = Widths(10, 7, 5, 4)


def whole(entry: str = "esl-global", **changes: object) -> EslGlobalSimilarity:
    torch.manual_seed(0)
    options = EslGlobalParameters.model_validate({**METHOD[entry].similarity.model_dump(), **changes})
    return uneven(EslGlobalSimilarity(options, EMBEDDING, WIDTHS).eval())


def fragments(entry: str = "esl-token", **changes: object) -> EslTokenSimilarity:
    torch.manual_seed(0)
    options = EslTokenParameters.model_validate({**METHOD[entry].similarity.model_dump(), **changes})
    return uneven(EslTokenSimilarity(options, EMBEDDING, WIDTHS).eval())


def uneven(model):  # type: ignore[no-untyped-def]
    """The same similarity, away from its start: contributions differ, forms are no identity."""
    with torch.no_grad():
        for value in (model.correspondence.contribution.degrees, *(m.weight for m in model.correspondence.matrices)):
            value += 0.03 * torch.randn_like(value)
    return model


def features(rows: int, width: int, tokens: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (rows, 1), generator=generator)
    values = torch.randn(rows, 6, tokens, generator=generator)
    return Features(torch.randn(rows, width, generator=generator), values, torch.arange(6) < lengths)


def pair(model: EslGlobalSimilarity | EslTokenSimilarity, images: int = 5, texts: int = 7) -> tuple[Embedded, Embedded]:
    given = features(images, WIDTHS.image, WIDTHS.image_tokens, 1), features(texts, WIDTHS.text, WIDTHS.text_tokens, 2)
    for each in given if isinstance(model, EslTokenSimilarity) else ():
        assert each.mask is not None
        each.mask[:, 1:] = True if each is given[0] else each.mask[:, 1:]  # the loop knows whole images only
    return model.encode_image(given[0]), model.encode_text(given[1])


def test_levels_start_with_equal_contributions_or_with_their_shares_of_the_width() -> None:
    torch.manual_seed(0)
    for shares, expected in (("equal", [0.4, 0.4, 0.4, 0.4]), ("width", [0.4, 0.2, 0.1, 0.05])):
        changes = {"degree_start": 0.4, "degree_shares": shares, "sparse": False, "levels": 3}
        options = EslGlobalParameters.model_validate({**METHOD["esl-global"].similarity.model_dump(), **changes})
        made = EslGlobalSimilarity(options, EMBEDDING.model_copy(update={"dimension": 16}), WIDTHS)
        assert made.correspondence.contribution().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("entry", ["esl-global", "esl-global-adaptive"])
def test_global_scores_are_means_over_levels(entry: str) -> None:
    model = whole(entry)
    images, texts = pair(model)
    expected = loop_global(model, images, texts)
    torch.testing.assert_close(model.score(images, texts), expected, atol=1e-6, rtol=1e-5)
    # embeddings hold each unit level over the root of their number: the loop's sum is the published mean
    left = torch.split(images.embedding, model.sizes, -1)
    for level in left:
        torch.testing.assert_close(level.norm(dim=1), torch.full((5,), len(left) ** -0.5))
    torch.testing.assert_close(texts.embedding.norm(dim=1), torch.ones(7))


@pytest.mark.parametrize("entry", ["esl-token", "esl-token-adaptive", "token-attention"])
def test_token_scores_are_those_of_the_loop(entry: str) -> None:
    model = fragments(entry)
    images, texts = pair(model)
    with torch.no_grad():
        expected = loop_tokens(model, images, texts)
        torch.testing.assert_close(model.score(images, texts), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.score(images, texts).detach(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(images.embedding.norm(dim=1), torch.ones(5))


def test_captions_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fragments()
    images, texts = pair(model)
    with torch.no_grad():
        whole_scores = model.score(images, texts)
        monkeypatch.setattr("itm.methods.similarities.esl_token.QUERIES", 2)
        torch.testing.assert_close(model.score(images, texts), whole_scores)


def test_the_cost_of_a_pair() -> None:
    model = fragments()
    images, texts = pair(model)
    assert images.mask is not None
    assert texts.mask is not None
    pairs = [int(a.sum()) * int(b.sum()) * (16 + 8 + 4 + 2) for a in images.mask for b in texts.mask]
    assert model.multiply_adds(images, texts) == pytest.approx(sum(pairs) / len(pairs))


def test_tokens_are_dropped_in_training_only() -> None:
    model = fragments(drop_regions=0.5, drop_words=0.5)
    given = features(50, WIDTHS.image, WIDTHS.image_tokens, 1), features(50, WIDTHS.text, WIDTHS.text_tokens, 2)
    assert given[0].mask is not None
    before = int(given[0].mask.sum())
    for training, fewer in ((False, False), (True, True)):
        model.train(training)
        for encode, each in ((model.encode_image, given[0]), (model.encode_text, given[1])):
            mask = encode(each).mask
            assert mask is not None
            assert each.mask is not None
            assert (mask.sum() < 0.8 * each.mask.sum()) == fewer
            assert mask.any(1).all()
    assert int(given[0].mask.sum()) == before


def test_gradients_reach_every_parameter() -> None:
    for model in (whole(), whole("esl-global-adaptive"), fragments(), fragments("esl-token-adaptive")):
        images, texts = pair(model)
        model.score(images, texts).square().sum().backward()
        missing = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
        assert not missing
