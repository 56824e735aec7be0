"""The report in a real browser: every section renders, nothing is asked of the network, keys and screen readers work.

Pictures of what was seen are left in .artefacts/report (not in git).
"""

import io
import itertools
from pathlib import Path

import pytest
from PIL import Image

from itm.report.page import build_page
from itm.report.render import to_html
from itm.report.results import collect

ARTEFACTS = Path(__file__).parents[2] / ".artefacts" / "report"
SECTIONS = (
    "results",
    "retrieval",
    "cxc",
    "hierarcaps",
    "false_negatives",
    "grading",
    "changes",
    "gallery",
    "training",
    "data",
)
ALIKE = "tbody tr:not([class], :first-child, :last-child)"
HARD = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def report(copied, tmp_path_factory) -> Path:
    """A report of one example each whose captions try to run, in a folder whose name has a space and quotes."""
    space = copied(tmp_path_factory.mktemp("browser") / 'it\'s a "report" & more')
    options = space.parameters.report.model_dump() | {"examples": 1}
    parameters = space.changed(report=options)
    found = collect(space.runs, space.evaluations, parameters.methods, parameters.seeds, parameters.benchmarks)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("itm.report.compare.SAMPLES", 100)  # the marks may be rough
        page = build_page(found, parameters, space.clean, space.scored, space.root)
    texts = page.data.captions.texts
    for example in page.text_to_image[:1]:
        texts[example.query] = f"{HARD} {space.nasty}"
    path = space.root / 'report\'s "page" é.html'
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


def test_every_section_renders(opened):
    page = opened()
    for width, scheme in itertools.product((1200, 390), ("light", "dark")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        for name in (*SECTIONS, "provenance"):
            box = page.locator(f"section:has(> h2#{name})").bounding_box()
            assert box["height"] > 60, (name, width, scheme)
            assert box["width"] <= width, (name, width, scheme)
        assert page.locator("figure.chart svg").count() >= 8
        # the page itself never scrolls sideways; wide tables do, inside their own regions
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) > 384) == (scheme == "light")
        if (width == 1200) == (scheme == "light"):
            keep(page, f"{scheme}-{width}")


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
    # it looks at each text by itself: of rows that differ in their words alone, the first and the last will do
    page.evaluate(f"document.querySelectorAll('{ALIKE}').forEach(each => each.remove())")
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
    page.evaluate("window.reached = []; addEventListener('focusin', event => reached.push(event.target))")
    expected = page.evaluate(
        """window.expected = [...document.querySelectorAll('a[href], input, summary, [tabindex]')]
        .filter(each => each.checkVisibility()); expected.length"""
    )
    for _ in range(expected):
        page.keyboard.press("Tab")
    assert page.evaluate("reached.length == expected.length && reached.every((each, n) => each === expected[n])")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement === document.body")
    assert {"A", "INPUT", "SUMMARY", "DIV", "PRE"} <= {*page.evaluate("reached.map(each => each.tagName)")}
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
