"""The pages as a site: every link leads somewhere, and nothing is loaded from another host."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[2]
PARTS = ("docs", "src", ".ci", "data/README.md", "data/regions/README.md")
PARTS = (*PARTS, "mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "tests/mutants/faults.yaml")


def build(root, out):
    """As the Makefile does it: with --quiet, mkdocs counts no warning and --strict says nothing."""
    (words,) = re.findall(r"/mkdocs (build .*)", (ROOT / "Makefile").read_text())
    command = [sys.executable, "-m", "mkdocs", *words.split(), "--site-dir", out]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(tmp_path):
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    there = {page.parent.relative_to(tmp_path).as_posix() for page in tmp_path.rglob("index.html")}
    pages = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages - {"index"} | {"reference", "changes", "contributing", "data-sets", "regions"} <= there
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="([^"]+)"', page.read_text())
        assert [each for each in loaded if re.match(r"(https?:)?//", each)] == []
    for asset in [*tmp_path.rglob("*.js"), *tmp_path.rglob("*.css")]:
        assert not re.search(r"https?://(unpkg|cdn|fonts)", asset.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("link", ["[a](no-such.md)", "[a](metrics.md#no-such-part)", "[a](../no-such/README.md)"])
def test_a_link_to_nothing_fails(link, tmp_path):
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    page = tmp_path / "docs/storage.md"
    page.write_text(f"{page.read_text()}\n{link}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "no-such" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / ".ci/pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("data.md", "[terms](../data/README.md#a) [x](scenes.md)", "[terms](data-sets.md#a) [x](scenes.md)"),
        ("data-sets.md", "[own](../docs/own-data.md)", "[own](own-data.md)"),
        ("results/tests.md", "[f](../../tests/mutants/faults.yaml) [d](../ditm.md#b)", "f [d](../ditm.md#b)"),
        ("contributing.md", "[a](#here) [b](https://a.b/c) ![c](docs/no.png)", None),
        ("index.md", "[no](../no.md)", None),
    ],
)
def test_links_by_places_in_the_repository_become_links_of_the_site(site, page, text, expected):
    assert site.rewritten(text, page) == (text if expected is None else expected)


def test_the_reference_has_every_public_name_with_a_line(site):
    import itm.metrics

    text = site.reference()
    assert "| `load` | A trained model, opened" in text
    for name in itm.metrics.__all__:
        told = ".*" if name.isupper() else ".+"
        assert re.search(rf"^\| `{name}` \| {told} \|$", text, re.M), name
