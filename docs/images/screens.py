"""Takes docs/images/report.png and docs/images/explorer.png from a finished run of `scenes`, with Chromium.

python docs/images/screens.py [FOLDER]      # of the run; without it this checkout, after `dvc repro`
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"
MODELS = ("models/ditm/seed0", "models/clip/seed0")
TEXT, SPECIFICITY, THRESHOLD = "a large red circle", "0.5", "30"
PAGE, WIDTH, COLOURS, PATIENCE = 1100, 860, 64, 120_000


def main() -> None:
    """Take both pictures."""
    run = Path(sys.argv[1] if sys.argv[1:] else ROOT).resolve()
    wanted = ("report.html", *MODELS, "data/clean", "data/scored/idf.parquet")
    if missing := [name for name in wanted if not (run / name).exists()]:
        sys.exit(f"{run}: lacks {', '.join(missing)}; run `dvc repro` there")
    if (chromium := shutil.which("chromium")) is None:
        sys.exit("no chromium on the path")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": PAGE, "height": 1200})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        report(page, run)
        explorer(page, run)
        browser.close()


def report(page: Any, run: Path) -> None:
    """One photo, and what comes first at either end of the specificity."""
    page.goto((run / "report.html").as_uri())
    heading = page.get_by_role("heading", name="One photo, and what")
    keep([heading, page.locator("section[aria-labelledby=grading] article")], "report.png")


def explorer(page: Any, run: Path) -> None:
    """Images for a text, then captions for the best of them, at a specificity and a threshold."""
    with exploring(run) as address:
        page.goto(address)
        page.get_by_label("A text").fill(TEXT)
        page.get_by_role("button", name="Find images").click()
        page.locator("#sides ol.images button").first.click()
        page.locator("#sides ol.captions li").first.wait_for()
        for name, value in (("specificity", SPECIFICITY), ("threshold", THRESHOLD)):
            page.locator(f"#{name}").fill(value)
        expect(page.locator("#specificity")).to_have_attribute("aria-valuetext", re.compile(f"{SPECIFICITY}, first"))
        keep([page.locator("body")], "explorer.png")


@contextmanager
def exploring(run: Path) -> Iterator[str]:
    """The address of an explorer of the run's models."""
    command = [sys.executable, "-m", "itm.cli", "explore", *MODELS, "--images", "data/clean", "--port", "0"]
    path = os.pathsep.join([str(ROOT / "src"), *sys.path[1:]])
    running = subprocess.Popen(
        command, cwd=run, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        yield running.stdout.readline().strip()
    finally:
        running.terminate()
        running.wait()


def keep(parts: list[Any], name: str) -> None:
    """A picture of the page from the first part to the last, smaller and of few colours."""
    page = parts[0].page
    for image in page.locator("img").all():
        image.evaluate("image => { image.loading = 'eager'; return image.decode(); }")
    page.evaluate("scrollTo(0, 0)")
    boxes = [part.bounding_box() for part in parts]
    top, bottom = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    clip = {"x": 0, "y": max(0, top - 16), "width": PAGE, "height": bottom - top + 32}
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB")
    small = picture.resize((WIDTH, picture.height * WIDTH // PAGE), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
