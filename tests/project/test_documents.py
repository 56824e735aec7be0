"""What the documents say exists and runs."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import warm
from command_lines import parse
from presets import hydra_once
from ruamel.yaml import YAML

from itm import cli
from itm.config.presets import compose
from itm.config.recipes import OLDER, choices
from itm.data.catalogue import DataSet

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for pattern in ("*.md", "docs/*.md", "data/*.md") for page in ROOT.glob(pattern))
PAGES = [page for page in PAGES if page.name != "report.md"]


def names(page):
    return str(page.relative_to(ROOT))


def prose(page):
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def commands(page):
    """Lines of the page's untagged code blocks, without their comments."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
        yield from (line.split("  #")[0].strip() for line in block.splitlines() if not language)


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
    known = {command.name for command in cli.app.registered_commands}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    whole = list(commands(page))
    for line in [*whole, *re.findall(r"`((?:itm|make) [^`]+)`", prose(page))]:
        for part in re.split(r"&&|;|\|", line):
            words = [word for word in part.split() if "=" not in word or word.startswith("-")]
            if words[:1] == ["itm"] and len(words) > 1 and not words[1].startswith("-"):
                assert words[1] in known, line
                if line in whole:  # in a sentence it may be a part
                    parse(shlex.split(part, comments=True)[1:])
            if words[:1] == ["make"] and len(words) > 1:
                assert words[1] in targets, line


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=names)
def test_preset_commands_compose(page, monkeypatch):
    monkeypatch.setattr("hydra.compose", hydra_once)
    for line in commands(page):
        words = shlex.split(line.split("&&")[0], comments=True) if line.startswith("itm preset ") else []
        known = {**choices("recipe", ROOT), **choices("data", ROOT), **OLDER}
        if len(words) > 2 and words[2] in known and not any("..." in w or "sigmoid" in w for w in words):
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


def test_every_recipe_data_set_and_method_is_listed():
    text = (ROOT / "docs/methods.md").read_text()
    for title, group in {"Recipes": "recipe", "Data sets": "data", "Methods": "method"}.items():
        (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert set(re.findall(r"^\| `([\w-]+)`", section, re.M)) == set(choices(group, ROOT))


def test_the_readme_is_short_and_opens_with_what_it_is_a_picture_and_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 700
    top = "\n".join(text.splitlines()[:30])
    assert all(each in top for each in ("![", "make repro", "make test", "itm new"))


def test_the_index_leads_to_every_page():
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/index.md").read_text())
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} == set(linked)


ADDED = """
import sys
import torch
from pathlib import Path
from itm.config.model import EmbeddingParameters
from itm.config.presets import compose
from itm.methods.build import build_method
from itm.methods.method import Context, Labels, Widths
from itm.towers.base import Features

parameters = compose("scenes", ["methods=[clip,sigmoid]"], root=Path.cwd())
embedding = EmbeddingParameters(dimension=4, layers=1, hidden=4, dropout=0.0)
torch.manual_seed(0)
method = build_method(parameters.entry("sigmoid"), embedding, Widths(6, 5, 6, 5))
images, texts = method.encode_image(Features(torch.randn(2, 6))), method.encode_text(Features(torch.randn(4, 5)))
owner = torch.tensor([0, 0, 1, 1])
positives = owner == torch.arange(2).unsqueeze(1)
value = method.losses(images, texts, Labels(positives, owner, torch.zeros(4), torch.zeros(2)), Context()).total()
logits = method.score(images, texts) / 0.1 - 10
pairs = ((1 if positives[i, j] else -1) * logits[i, j] for i in range(2) for j in range(4))
torch.testing.assert_close(value, sum(torch.log1p(torch.exp(-pair)) for pair in pairs) / 2)
value.backward()
assert method.loss.bias.grad is not None
print("works")
"""


@pytest.mark.slow
def test_the_example_loss_works_in_three_places(tmp_path):
    """As the page says: options and their union, a module, an entry; nothing else is touched."""
    text = (ROOT / "docs/adding-a-method.md").read_text()
    options, module = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (entry,) = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    losses = tmp_path / "src/itm/config/losses.py"
    before, union = losses.read_text().split("LossParameters = Annotated[")
    union = union.replace("| DitmParameters,", "| DitmParameters | SigmoidParameters,")
    losses.write_text(f"{before}{options}\n\nLossParameters = Annotated[{union}")
    (tmp_path / "src/itm/methods/losses/sigmoid.py").write_text(module)
    (tmp_path / "conf/method/sigmoid.yaml").write_text(entry)
    command = [f"{warm.commands()}/python", "-c", ADDED]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "works", done.stderr
