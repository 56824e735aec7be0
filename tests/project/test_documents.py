"""What the documents say exists and runs."""

import re
import shlex
from pathlib import Path
from typing import Literal

import pytest
import torch
from presets import hydra_once
from pydantic import Field
from ruamel.yaml import YAML
from torch import nn
from torch.nn import functional

from itm import cli
from itm.config.methods import MethodSection
from itm.config.model import EmbeddingParameters
from itm.config.presets import choices, compose
from itm.data.catalogue import DataSet
from itm.methods.blocks.heads import Heads
from itm.methods.blocks.info_nce import Temperature
from itm.methods.interface import Context, Embedded, Labels, Loss, Losses, Term, Widths
from itm.methods.method import Method
from itm.towers.base import Features

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for pattern in ("*.md", "docs/*.md", "data/*.md") for page in ROOT.glob(pattern))
PAGES = [page for page in PAGES if page.name != "report.md"]


def names(page):
    return str(page.relative_to(ROOT))


def prose(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def commands(page):
    """Lines of the page's untagged code blocks, without their comments."""
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.M | re.S):
        yield from (line.split("  #")[0].strip() for line in block.splitlines())


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_paths_in_the_prose_exist(page):
    """Whatever looks like a source path of ours is one."""
    said = re.findall(r"`((?:src|tests|conf|docs|workflow|\.ci)/[\w./-]+)`", page.read_text())
    of_an_example = re.compile("sigmoid|mydata")
    assert [path for path in said if not of_an_example.search(path) and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_commands_of_ours_exist(page):
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in [*commands(page), *re.findall(r"`((?:itm|make) [^`]+)`", page.read_text())]:
        for part in re.split(r"&&|;|\|", line):
            words = [word for word in part.split() if "=" not in word or word.startswith("-")]
            if words[:1] == ["itm"] and len(words) > 1 and not words[1].startswith("-"):
                assert words[1] in known, line
            if words[:1] == ["make"] and len(words) > 1:
                assert words[1] in targets, line


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=names)
def test_preset_commands_compose(page, monkeypatch):
    monkeypatch.setattr("hydra.compose", hydra_once)
    for line in commands(page):
        words = shlex.split(line.split("&&")[0], comments=True) if line.startswith("itm preset ") else []
        if words and words[2] in choices("preset", ROOT) and not any("..." in w or "sigmoid" in w for w in words):
            compose(words[2], words[3:], root=ROOT)


def test_the_mirror_table_is_that_of_the_catalogue():
    files = YAML(typ="safe").load(ROOT / "data/catalogue.yaml")["flickr8k"]["files"]
    text = (ROOT / "data/README.md").read_text()
    for name, entry in files.items():
        for copy in entry["mirror"]:
            assert f"| `{name}` | `{copy['path']}` |" in text


def test_the_example_catalogue_entry_is_accepted():
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/adding-a-dataset.md").read_text(), re.M | re.S)
    entry = DataSet.model_validate(YAML(typ="safe").load(block)["mydata"])
    assert set(entry.files) == {"mydata-images.zip", "mydata-captions.csv"}


def test_every_preset_and_method_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    for name in [*choices("preset", ROOT), *choices("method", ROOT)]:
        assert f"| `{name}`" in text


def test_the_readme_opens_with_what_it_is_a_picture_and_the_two_commands():
    top = "\n".join((ROOT / "README.md").read_text().splitlines()[:30])
    assert "![" in top
    assert "make repro" in top
    assert "make test" in top


def test_the_example_method_works():
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/adding-a-method.md").read_text(), re.M | re.S)
    scope = dict(
        Field=Field, Literal=Literal, Loss=Loss, MethodSection=MethodSection, Tensor=torch.Tensor,
        Temperature=Temperature, nn=nn, torch=torch, Embedded=Embedded, Labels=Labels, Context=Context, Losses=Losses,
        Term=Term, functional=functional,
    )  # fmt: skip
    exec("\n".join(blocks), scope)
    torch.manual_seed(0)
    given = {"loss": "sigmoid", "temperature": 0.1, "bias": -10.0, "similarity": {"type": "heads"}, "add": {}}
    parameters = scope["SigmoidParameters"].model_validate(given)
    embedding = EmbeddingParameters(dimension=4, layers=1, hidden=4, dropout=0.0)
    method = Method(Heads(embedding, Widths(6, 5, 6, 5)), scope["SigmoidLoss"](parameters), {})
    images, texts = method.encode_image(Features(torch.randn(2, 6))), method.encode_text(Features(torch.randn(4, 5)))
    owner = torch.tensor([0, 0, 1, 1])
    positives = owner == torch.arange(2).unsqueeze(1)
    labels = Labels(positives, owner, torch.zeros(4), torch.zeros(2))
    value = method.losses(images, texts, labels, Context()).total()
    logits = method.score(images, texts) / 0.1 - 10
    expected = sum(
        torch.log1p(torch.exp(-(1 if positives[i, j] else -1) * logits[i, j])) for i in range(2) for j in range(4)
    )
    torch.testing.assert_close(value, expected / 2)
    value.backward()
    assert method.loss.bias.grad is not None
