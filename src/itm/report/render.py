"""The page as HTML and as Markdown. Jinja escapes every text; only fragments made here are marked as safe."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from itm.report import plots
from itm.report.gallery import SHOWN, by_reason
from itm.report.page import Page
from itm.report.relaxed import WHY
from itm.report.words import TITLES

KINDS = {
    "labelled": ("labelled", "the pair that the data set labels"),
    "true": ("true", "true of the image, but not labelled"),
    "false": ("false", "not true of the image"),
    "unlabelled": ("unlabelled", "not the labelled pair; whether it is true is not known"),
}


def to_html(page: Page) -> str:
    """One self-contained HTML document."""
    return _environment().get_template("report.html.j2").render(page=page, **_helpers(page))


def to_markdown(page: Page) -> str:
    """The headline, all tables and the provenance as Markdown."""
    return _environment().get_template("report.md.j2").render(page=page, **_helpers(page))


def cell_text(text: str) -> str:
    """A text made safe for a cell of a Markdown table: no pipe, no line break, no HTML.

    >>> cell_text("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(plain.replace("|", "\\|").split())


def _helpers(page: Page) -> dict[str, object]:
    kinds = ["labelled", "true", "false"] if page.data.tables.truth is not None else ["labelled", "unlabelled"]
    return {
        "kinds": [(kind, *KINDS[kind]) for kind in kinds],
        "kind_words": KINDS,
        "titles": TITLES,
        "shown": SHOWN,
        "by_reason": by_reason,
        "swatch": plots.swatch,
        "why_relaxed": WHY,
    }


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("itm.report", "templates"),
        autoescape=select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell_text
    environment.filters["share"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    return environment
