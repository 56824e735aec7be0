"""The explorer in a real Chromium: every section, the keyboard, axe-core, a narrow screen, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser import NARROW, WIDE, overflow, screenshot, violations
from playwright.sync_api import expect
from small_model import KINDS, NASTY, picture

from itm.explore.matching import Explorer
from itm.grading.files import grade_of
from itm.grading.texts import describe

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def ask(page: Any, text: str) -> None:
    page.get_by_label("A text").fill(text)
    page.get_by_role("button", name="Find images").click()
    answered(page, "images")


def answered(page: Any, kind: str) -> None:
    """Wait until matches of a kind are shown. (The page's policy forbids playwright's wait_for_function.)"""
    expect(page.locator("#status")).to_be_empty()
    expect(page.locator(f"#sides ol.{kind} li").first).to_be_visible()


def loaded(page: Any, which: str) -> None:
    """Wait until an image has its pixels."""
    page.locator(which).first.evaluate("image => image.decode()")


def test_every_section_renders(address: str, open_page: Callable[..., Any]) -> None:
    with open_page(address) as (page, _):
        assert page.title() == "Graded matches"
        assert page.get_by_role("heading", name="Matches", exact=True).is_visible()
        assert page.locator("#walk").is_hidden()
        ask(page, "a large red circle")
        for name in ("Ask", "How much the text says", "From generic to specific", "Matches"):
            assert page.get_by_role("heading", name=name, exact=True).is_visible()
        assert page.locator("#sides h3").all_text_contents() == ["clip, seed 0", "clip, seed 1"]
        assert page.locator("#sides li").count() == 2 * len(KINDS)
        assert page.locator("#said tbody tr").count() == 4
        assert page.locator("#walk .met").count() == 2
        first = page.locator("#sides img").first
        loaded(page, "#sides img")
        assert first.evaluate("image => image.naturalWidth") == 64
        widths = page.locator("#sides .bar span").evaluate_all("all => all.map(one => one.style.width)")
        assert widths[0] == "100%"
        screenshot(page, "explorer-text")


def test_a_photo_is_dropped_and_chosen(address: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    photo = tmp_path / 'it\'s "mine" <i>.png'
    photo.write_bytes(picture(*KINDS[4]))
    with open_page(address) as (page, _):
        page.get_by_label("A photo").set_input_files(photo)
        answered(page, "captions")
        assert page.locator("#sides ol.captions li").count() == 24
        assert page.locator("img.asked").get_attribute("alt") == f"The photo asked about: {photo.name}"
        loaded(page, "img.asked")
        screenshot(page, "explorer-photo")
        page.reload()
        data = page.evaluate_handle(
            """bytes => { const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" })); return data; }""",
            list(photo.read_bytes()),
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": data})
        answered(page, "captions")
        assert page.locator("img.asked").get_attribute("alt") == "The photo asked about: dropped.png"


def test_faults_are_shown_and_it_keeps_working(address: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    from PIL import Image

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    huge = tmp_path / "huge.png"
    Image.new("1", (12_000, 12_000)).save(huge)
    heavy = tmp_path / "heavy.jpg"
    heavy.write_bytes(bytes(33 * 2**20))
    message = "#message"
    with open_page(address, answered=2) as (page, _):
        for path, said in (
            (broken, "This is no photo that can be read"),
            (huge, "The photo has 12,000 x 12,000 pixels, more than 100 megapixels"),
            (heavy, "The file is too large: at most 32 MB are taken."),
        ):
            page.get_by_label("A photo").set_input_files(path)
            expect(page.locator(message)).to_contain_text(said)
        page.get_by_label("A text").fill("dog " * 25_000)
        page.get_by_role("button", name="Find images").click()
        assert page.locator(message).text_content() == "The text has 100,000 characters; at most 1,000 are taken."
        page.get_by_label("A text").fill("")
        page.get_by_role("button", name="Find images").click()
        assert page.locator(message).text_content() == "Type a text first."
        ask(page, "a red circle")
        assert page.locator(message).text_content() == ""
        assert page.locator("#sides li").count() == 24


def test_captions_are_shown_and_never_run(address: str, open_page: Callable[..., Any]) -> None:
    with open_page(address) as (page, seen):
        page.get_by_role("button", name=NASTY).click()
        answered(page, "images")
        assert page.get_by_label("A text").input_value() == NASTY
        assert page.locator("p.caption", has_text="مرحبا 🙂").first.text_content() == NASTY
        assert page.locator("#sides script, #walk script").count() == 0
        page.locator("#sides button").first.click()
        page.locator("#sides ol.captions").first.wait_for()
        assert seen.hosts == set()


def test_the_walk_follows_the_slider_by_keyboard(address: str, open_page: Callable[..., Any]) -> None:
    with open_page(address) as (page, _):
        ask(page, "a blue square")
        slider = page.get_by_role("slider", name="left is generic, right is specific")
        slider.focus()
        page.keyboard.press("Home")
        assert page.locator("#level-number").text_content() == "1 of 50"
        generic = page.locator("#walk .met").all_text_contents()
        page.keyboard.press("ArrowRight")
        assert page.locator("#level-number").text_content() == "2 of 50"
        page.keyboard.press("End")
        specific = page.locator("#walk .met").all_text_contents()
        paths = [side.locator(".path li").all_text_contents() for side in page.locator("#walk .side").all()]
        assert generic == [path[0] for path in paths]
        assert specific == [path[-1] for path in paths]
        assert page.locator("#walk li[aria-current]").count() == 2
        assert slider.get_attribute("aria-valuetext").startswith("level 50: ")


def test_the_order_follows_the_slider_by_keyboard(graded_address: str, open_page: Callable[..., Any]) -> None:
    """Of the graded model; the other has one order, and says why."""
    with open_page(graded_address) as (page, _):
        slider = page.get_by_role("slider", name="left is all that is true, right is what says most")
        ask(page, "a large red circle")
        assert slider.count() == 0  # no specificity moves images
        graded, plain = page.locator("#sides .side").all()
        expect(graded.locator(".about")).to_contain_text("of 12 images. Bars and percentages")
        expect(plain.locator(".about")).to_contain_text("has no grade.json")
        page.locator("#sides button").first.click()
        answered(page, "captions")
        graded, plain = page.locator("#sides .side").all()

        def order(side: Any) -> list[str]:
            return side.locator("button.caption").all_text_contents()

        before, other = order(graded), order(plain)
        tab_to(page, "specificity")
        expect(slider).to_be_focused()
        assert slider.get_attribute("aria-valuetext") == f"0.0, first: {before[0]}; {other[0]}"
        page.keyboard.press("End")
        expect(graded.locator("button.caption").first).not_to_have_text(before[0])
        after = order(graded)
        assert len(after) == len(before) == 12
        assert order(plain) == other
        assert page.locator("#specificity-number").text_content() == "1.5"
        expect(slider).to_have_attribute("aria-valuetext", f"1.5, first: {after[0]}; {other[0]}")
        expect(slider).to_be_focused()
        page.keyboard.press("ArrowLeft")
        assert page.locator("#specificity-number").text_content() == "1.4"
        page.keyboard.press("Home")
        expect(slider).to_have_attribute("aria-valuetext", f"0.0, first: {before[0]}; {other[0]}")
        assert order(graded) == before


def tab_to(page: Any, name: str) -> None:
    """Press the Tab key until an element has the focus."""
    page.get_by_label("A photo").focus()
    for _ in range(40):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not lead to {name}")


def test_the_matches_at_a_threshold_by_keyboard(
    many_explorer: Explorer, many_address: str, open_page: Callable[..., Any]
) -> None:
    """What the live region says, the marks and the list follow the slider, and every match is reached."""
    side, captions = many_explorer.sides[0], many_explorer.texts.captions
    grade = grade_of(side.model.folder, side.model.hash)
    d = describe(list(captions), grade.idf)
    probability = grade.calibrator.probability(side.captions @ side.images[5], d)
    with open_page(many_address) as (page, _):
        slider = page.get_by_role("slider", name="A match is true with a probability of")
        expect(slider).to_have_count(0)  # nothing is asked yet
        photo = page.get_by_label("A photo")
        photo.set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": picture(*KINDS[5])})
        answered(page, "captions")
        count = page.get_by_role("status").filter(has_text="match")

        def said(threshold: int) -> str:
            return f"clip, seed 0: {(100 * probability >= threshold).sum()} of {len(captions)} captions match."

        expect(count).to_have_text(said(50))
        tab_to(page, "threshold")
        assert slider.get_attribute("aria-valuetext") == "50%"
        page.keyboard.press("ArrowRight")
        expect(count).to_have_text(said(51))
        assert slider.get_attribute("aria-valuetext") == "51%"
        page.keyboard.press("Home")
        expect(count).to_have_text(said(1))
        expect(page.locator("#sides .side").first.locator(".matched")).to_have_count(12)
        page.keyboard.press("PageUp")
        threshold = int(slider.input_value())
        expect(count).to_have_text(said(threshold))
        assert 12 < (100 * probability >= threshold).sum() < len(captions)
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        expect(page.get_by_role("checkbox", name="Only matches")).to_be_checked()
        first, plain = page.locator("#sides .side").all()
        listed, others = first.locator("li"), plain.locator("li")
        while page.get_by_role("button", name="Show more").is_visible():
            before = others.count()
            page.get_by_role("button", name="Show more").focus()
            page.keyboard.press("Enter")
            expect(others).not_to_have_count(before)
            assert page.evaluate("document.activeElement.closest('#sides li') !== null")
        shown = listed.locator("button.caption").all_text_contents()
        expected = [text for text, chance in zip(captions, probability, strict=True) if 100 * chance >= threshold]
        assert sorted(shown) == sorted(expected)
        assert listed.locator(".match", has_text="match").count() == len(shown)
        assert others.count() == len(captions)  # without a grade all are listed
        assert plain.locator(".matched").count() == 0
        assert violations(page) == []
        slider.focus()
        page.keyboard.press("End")
        expect(count).to_have_text(said(99))
        expect(first.locator(".none")).to_be_visible(visible=not (100 * probability >= 99).any())


def test_without_a_grade_there_is_no_threshold_and_all_are_reached(
    address: str, open_page: Callable[..., Any], explorer: Explorer
) -> None:
    with open_page(address) as (page, _):
        ask(page, "a red circle")
        more = page.get_by_role("button", name="Show more")
        expect(more).to_be_hidden()  # twelve images
        expect(page.get_by_role("slider")).to_have_count(1)
        expect(page.get_by_role("checkbox")).to_have_count(0)
        expect(page.locator("#count")).to_be_empty()
        page.locator("#sides button").first.click()
        answered(page, "captions")
        expect(page.locator("#sides ol.captions").first.locator("li")).to_have_count(12)
        while more.is_visible():
            before = page.locator("#sides li").count()
            more.click()
            expect(page.locator("#sides li")).not_to_have_count(before)
        for side in page.locator("#sides .side").all():
            assert sorted(side.locator("button.caption").all_text_contents()) == sorted(explorer.texts.captions)


def test_percentages_mark_the_matches(
    graded: SimpleNamespace, graded_address: str, open_page: Callable[..., Any]
) -> None:
    with open_page(graded_address) as (page, _):
        ask(page, graded.text)
        side, plain = page.locator("#sides .side").all()
        shares = [int(each.strip("<%")) for each in side.locator(".probability").all_text_contents()]
        assert len(shares) == 12
        assert shares == sorted(shares, reverse=True)
        marked = side.locator("li").evaluate_all("all => all.map(one => one.classList.contains('matched'))")
        assert marked == [share >= 50 for share in shares]
        assert side.locator(".match", has_text="match").count() == sum(marked)
        assert 0 < sum(marked) < 12
        assert "similarity" in side.locator(".similarity").first.text_content()
        assert set(plain.locator(".probability").all_text_contents()) == {""}
        assert plain.locator(".matched").count() == 0


def test_everything_is_reached_by_keyboard(address: str, open_page: Callable[..., Any]) -> None:
    with open_page(address) as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the matches"
        page.keyboard.press("Tab")
        page.keyboard.type("a red circle")
        page.keyboard.press("Enter")
        page.wait_for_selector("#sides li")
        page.evaluate("window.reached = []; addEventListener('focusin', event => reached.push(event.target))")
        for _ in range(60):
            page.keyboard.press("Tab")
        reached = page.evaluate("reached.map(each => each.id || each.className)")
        assert {"photo", "example", "level", "picture"} <= set(reached)
        page.locator("#sides button").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#sides ol.captions")
        expect(page.locator("#matches")).to_be_focused()


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide-light", "narrow-dark"])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    graded_address: str, open_page: Callable[..., Any], scheme: str, viewport: dict[str, int]
) -> None:
    """Colours do not depend on the width, nor the layout on the scheme: two of the four cases show all of either."""
    with open_page(graded_address, viewport=viewport, scheme=scheme) as (page, _):
        assert violations(page) == []
        assert overflow(page) <= 0
        ask(page, "a large red circle")
        assert violations(page) == []
        assert overflow(page) <= 0
        screenshot(page, f"explorer-{scheme}-{viewport['width']}")
        page.locator("#sides button").first.click()
        page.wait_for_selector("#sides ol.captions")
        expect(page.locator("#specificity")).to_be_visible()
        assert violations(page) == []
        assert overflow(page) <= 0
        screenshot(page, f"explorer-captions-{scheme}-{viewport['width']}")
        page.get_by_label("A text").fill("")
        page.get_by_role("button", name="Find images").click()
        assert violations(page) == []


def test_a_page_of_elsewhere_cannot_ask(address: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    """What the guard is for: another origin's script, in a browser, gets neither answer nor effect."""
    other = tmp_path / "evil.html"
    other.write_text("<!doctype html><title>evil</title><link rel=icon href=data:,>")
    with open_page(address, answered=0) as (page, _):
        ask(page, "a red circle")
        assert "token" not in page.url
    address = address.split("?")[0]
    with open_page(other.as_uri(), strays=frozenset({address.split("/")[2]})) as (page, seen):
        page.context.unroute_all()
        page.context.route(
            "**/*", lambda asked: (seen.hosts.add(asked.request.url.split("/")[2]), asked.continue_())[-1]
        )
        found = page.evaluate(
            """async address => { try { const answer = await fetch(address + "match/text", { method: "POST",
            mode: "no-cors", body: '{"text": "a"}' }); return answer.type; } catch (error) { return error.name; } }""",
            address,
        )
        assert found in ("opaque", "TypeError")
        read = page.evaluate(
            """async address => { try { return await (await fetch(address)).text(); }
            catch (error) { return error.name; } }""",
            address,
        )
        assert read == "TypeError"
        seen.console.clear()  # Chromium says there that it refused, which is what was asked for
