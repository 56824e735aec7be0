"""Writes docs/images/frontier.svg, the first picture of the README, from the chart in report.html (`dvc repro`)."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from markupsafe import escape

from itm.report.plots import HEIGHT, WIDTH

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs/images/frontier.svg"
CHART = "Truth against order"
TOP, ROW, COLUMNS = 30, 20, 3


def draw(report: str) -> str:
    """The chart as a picture of its own: with the page's colours, its title and its legend inside.

    Raises:
        ValueError: the report has no such chart.
    """
    style = re.search(r"<style>(.*?)</style>", report, re.S)
    figures = re.findall(r'<figure class="chart">.*?</figure>', report, re.S)
    found = next((each for each in figures if f"<figcaption>{CHART}" in each), None)
    if style is None or found is None:
        raise ValueError(f"no chart '{CHART} ...': evaluate the benchmark `grading`")
    figure = ET.fromstring(found)  # noqa: S314 - the report is our own
    chart, title = figure.find("svg"), figure.findtext("figcaption")
    chart.set("y", str(TOP))
    chart.set("width", str(WIDTH))
    chart.set("height", str(HEIGHT))
    body = [_written(chart)]
    entries = figure.findall("ul/li")
    for place, entry in enumerate(entries):
        x, y = 66 + place % COLUMNS * 135, TOP + HEIGHT + 10 + place // COLUMNS * ROW
        sample = entry.find("svg")
        sample.set("x", str(x))
        sample.set("y", str(y))
        body.append(f'{_written(sample)}<text class="label" x="{x + 40}" y="{y + 10}">{escape(entry[1].text)}</text>')
    height = TOP + HEIGHT + 20 + -(-len(entries) // COLUMNS) * ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {height}"'
        f' width="{1.5 * WIDTH:.0f}" font-family="system-ui, sans-serif" role="img" aria-label="{escape(title)}">\n'
        f"<style>{_used(style[1], ''.join(body))}</style>\n"
        f'<rect width="100%" height="100%" fill="var(--page)"/>\n'
        f'<text class="label" x="{WIDTH / 2:.0f}" y="20" text-anchor="middle">{escape(title)}</text>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _written(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


def _used(style: str, body: str) -> str:
    """The rules of the style sheet that colour the chart: the variables, and those of classes that it has."""
    used = {"chart", *" ".join(re.findall(r'class="([^"]*)"', body)).split()}
    kept = []
    for rule in re.findall(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}|[^{}]+\{[^{}]*\}", style):
        selectors = [set(re.findall(r"\.([\w-]+)", each)) for each in rule.split("{")[0].split(",")]
        if ":root" in rule or any(names and names <= used for names in selectors):
            kept.append(rule.strip())
    return "\n".join(["", *kept, ""])


def main() -> None:
    """Write the picture."""
    try:
        picture = draw((ROOT / "report.html").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"report.html: {error}")
    OUT.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
