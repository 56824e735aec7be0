"""The first picture of the README is the frontier of the report that is here."""

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from itm.report.plots import Series, lines

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def frontier():
    spec = importlib.util.spec_from_file_location("frontier", ROOT / "docs/images/frontier.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_frontier_in_the_readme_is_that_of_the_report(frontier):
    picture = (ROOT / "docs/images/frontier.svg").read_text(encoding="utf-8")
    drawn = frontier.draw((ROOT / "report.html").read_text(encoding="utf-8"))
    assert picture == drawn, "python docs/images/frontier.py draws it anew"
    first = re.search(r"!\[[^]]*\]\(([^)]*)\)", (ROOT / "README.md").read_text())
    assert first[1] == "docs/images/frontier.svg"


def test_a_picture_of_its_own_has_the_points_the_legend_and_the_colours(frontier):
    series = [Series("<a> & b", [0, 1], [1, 0]), Series("c", [0, 1], [2, 1]), Series("c, similarity", [0.5], [1])]
    chart = lines(f"{frontier.CHART}, here", "x", "y", series)
    style = ":root { --s0: #123456; }\n@media (x) { :root { --s0: #fff; } a { b: c; } }\nbody { a: b; }\n" + (
        ".line.s0 { stroke: var(--s0); } .line.s5 { stroke: var(--s5); } .chart .grid { fill: none; } .other { a: b; }"
    )
    tree = ET.fromstring(frontier.draw(f"<style>{style}</style><p>{chart}</p>{lines('another', 'x', 'y', series)}"))
    texts = ["".join(each.itertext()) for each in tree.iter(f"{SVG}text")]
    assert texts[0] == f"{frontier.CHART}, here"
    assert texts[-3:] == ["<a> & b", "c", "c, similarity"]
    paths = [each.get("d") for each in tree.iter(f"{SVG}path") if "line" in each.get("class", "")]
    assert len(paths) == 3 + 3  # and the samples of the legend
    rules = tree.find(f"{SVG}style").text
    assert all(rule in rules for rule in ("--s0: #123456", "--s0: #fff", ".line.s0", ".chart .grid"))
    assert not any(rule in rules for rule in ("body", ".line.s5", ".other"))
    assert all(float(each.get("x")) + 40 < 480 for each in tree.findall(f"{SVG}svg")[1:])


@pytest.mark.parametrize("report", ["", "<style></style>", '<style></style><figure class="chart">x</figure>'])
def test_a_report_without_a_frontier_is_told(frontier, report):
    with pytest.raises(ValueError, match="evaluate the benchmark `grading`"):
        frontier.draw(report)
