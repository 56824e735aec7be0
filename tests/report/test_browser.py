"""The report in a real browser: every section renders, nothing is asked of the network, keys and screen readers work.

Pictures of what was seen are left in .artefacts/report (not in git).
"""

import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from itm.report.page import build_page
from itm.report.render import to_html
from itm.report.results import collect

ARTEFACTS = Path(__file__).parents[2] / ".artefacts" / "report"
SECTIONS = ("results", "retrieval", "cxc", "hierarcaps", "false_negatives", "changes", "gallery", "training", "data")
HARD = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    """A report whose captions try to run, in a folder whose name has a space and quotes."""
    root = tmp_path_factory.mktemp("browser") / 'it\'s a "report" & more'
    shutil.copytree(finished.root, root)
    space = SimpleNamespace(**vars(finished))
    clean, scored, runs, evaluations = (
        root / path for path in ("data/clean", "data/scored", "results/runs", "evaluations")
    )
    found = collect(runs, evaluations, space.parameters.methods, space.parameters.seeds, space.parameters.benchmarks)
    page = build_page(found, space.parameters, clean, scored, root)
    texts = page.data.captions.texts
    for example in page.text_to_image[:1]:
        texts[example.query] = f"{HARD} {finished.nasty}"
    path = root / 'report\'s "page" é.html'
    path.write_text(to_html(page), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, report, request):
    """Open the report; every console message, page error and request beyond the file itself fails the test."""
    contexts, faults = [], []

    def open_page(**options):
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "request",
            lambda asked: asked.url.startswith(("file:", "data:")) or faults.append(f"request: {asked.url}"),
        )
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def keep(page, name: str) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_every_section_renders(opened, scheme, width):
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 844})
    keep(page, f"{scheme}-{width}")
    for name in (*SECTIONS, "provenance"):
        box = page.locator(f"section:has(> h2#{name})").bounding_box()
        assert box["height"] > 60, name
        assert box["width"] <= width, name
    assert page.locator("figure.chart svg").count() >= 8
    # the page itself never scrolls sideways; wide tables do, inside their own regions
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 384) == (scheme == "light")


def serious(results) -> list[str]:
    """Axe's serious and critical violations, each with the first element it is about."""
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in results.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_find_no_serious_fault(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    # axe is put into the page as a script, which the page's own policy forbids
    page = opened(color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert serious(axe.Axe().run(page)) == []
    # and it would find one
    page.evaluate("document.querySelector('h1').style.color = 'var(--line)'")
    assert "color-contrast" in str(serious(axe.Axe().run(page, context="h1")))


def test_captions_and_names_are_shown_and_never_run(opened, finished):
    page = opened()
    assert page.title() == finished.parameters.report.title
    assert page.locator("img, script, iframe").count() == 0
    shown = page.locator("#gallery ~ article bdi", has_text="onerror").first.inner_text()
    assert shown == f"{HARD} {finished.nasty}"


def test_pictures_are_drawn(opened):
    page = opened()
    drawn = page.locator("svg.thumb").first.screenshot()
    picture = Image.open(io.BytesIO(drawn)).convert("RGB")
    assert len(picture.getcolors(picture.width * picture.height)) > 2


def test_keys_reach_everything(opened):
    page = opened()
    reached = []
    for _ in range(400):
        page.keyboard.press("Tab")
        tag = page.evaluate("document.activeElement.tagName")
        if tag == "BODY":
            break
        reached.append(tag)
    expected = page.evaluate(
        "[...document.querySelectorAll('a[href], input, summary, [tabindex]')].filter(e => e.checkVisibility()).length"
    )
    assert len(reached) == expected
    assert {"A", "INPUT", "SUMMARY", "DIV", "PRE"} <= {*reached}
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.locator("xpath=..").get_attribute("open") is not None
    outline = summary.evaluate("each => getComputedStyle(each).outlineStyle")
    assert outline == "solid"


def test_a_method_can_be_hidden_everywhere(opened):
    page = opened()
    hidden, stays = page.locator("section .m0"), page.locator("section .m1")
    assert hidden.first.is_visible()
    page.get_by_role("checkbox", name="clip").focus()
    page.keyboard.press("Space")
    assert not any(each.is_visible() for each in hidden.all()[:20])
    assert stays.first.is_visible()
    # tables of results keep all rows: a comparison without one side is none
    assert page.locator("#results ~ .scroll tbody tr", has_text="clip").is_visible()


def test_contents_lead_to_sections(opened):
    page = opened()
    for link in page.locator("nav a").all():
        link.click()
        target = page.url.split("#")[1]
        assert page.locator(f"#{target}").is_visible()


def test_it_prints(opened):
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    printed = page.pdf(path=ARTEFACTS / "print.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
