"""A real Chromium for tests: what it may load, what it must not say, and what axe-core finds.

Any room imports it: `tests/conftest.py` makes the fixtures known. Tests skip where no Chromium is installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ARTEFACTS = Path(__file__).parents[1] / ".artefacts"
NARROW = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}
_LOCAL = {"data", "blob", "about"}


def chromium_path() -> str | None:
    """Where Chromium is: the variable ITM_CHROMIUM, or one that is installed."""
    asked = os.environ.get("ITM_CHROMIUM")
    return asked or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )


@dataclass
class Seen:
    """What happened while a page was open."""

    hosts: set[str] = field(default_factory=set)
    console: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, one for all tests of a session."""
    found = chromium_path()
    if found is None:
        pytest.skip("no Chromium is installed here (looked on the path and in ITM_CHROMIUM)")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # 5 seconds are too few where other work takes the processors
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any) -> Callable[..., Any]:
    """`with open_page(url, allowed_errors=0) as (page, seen)`: a page that may reach `url`'s host only.

    At the end: no error in the console, no request to elsewhere, no dialog. `url` may be a file:// address.
    `answered` counts error answers that the test provokes: Chromium reports each of them in its console.
    """

    @contextmanager
    def opened(
        url: str,
        viewport: dict[str, int] = WIDE,
        scheme: str = "light",
        answered: int = 0,
        strays: frozenset[str] = frozenset(),
    ) -> Iterator[tuple[Any, Seen]]:
        home = urlsplit(url).netloc
        context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
        seen = Seen()

        def route(asked: Any) -> None:
            parts = urlsplit(asked.request.url)
            if parts.scheme not in _LOCAL and parts.netloc != home:
                seen.hosts.add(parts.netloc)
                asked.abort()
            else:
                asked.continue_()

        def refuse(dialog: Any) -> None:
            seen.dialogs.append(dialog.message)
            dialog.dismiss()

        context.route("**/*", route)
        page = context.new_page()
        page.on("console", lambda said: seen.console.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("dialog", refuse)
        page.goto(url)
        try:
            yield page, seen
        finally:
            context.close()
        provoked = [line for line in seen.console if line.startswith("Failed to load resource: the server responded")]
        assert len(provoked) == answered, seen.console
        assert [line for line in seen.console if line not in provoked] == []
        assert seen.hosts == strays
        assert seen.dialogs == []

    return opened


def violations(page: Any) -> list[str]:
    """Serious and critical findings of axe-core, each with the first element it is about."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("serious", "critical")]


def screenshot(page: Any, name: str) -> Path:
    """Keep a picture of the whole page as a test artefact."""
    ARTEFACTS.mkdir(exist_ok=True)
    path = ARTEFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
