"""Takes the picture of docs/explorer.md from a running explorer.

itm explore models/ditm/seed0 models/clip/seed0 --images scenes &
python docs/images/explorer.py ADDRESS "a large red circle" docs/images/explorer.png
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

LEVEL = 20
WIDTH = 620


def main() -> None:
    """Ask, move the slider, and keep a picture of few colours."""
    address, text, out = sys.argv[1:]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1200})
        page.goto(address)
        page.get_by_label("A text").fill(text)
        page.get_by_role("button", name="Find images").click()
        page.locator("#sides li").first.wait_for()
        page.get_by_role("slider").fill(str(LEVEL))
        for image in page.locator("#sides img").all():
            image.evaluate("image => { image.loading = 'eager'; return image.decode(); }")
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        browser.close()
    small = picture.resize((picture.width * WIDTH // 1100, picture.height * WIDTH // 1100), Image.Resampling.LANCZOS)
    small.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(Path(out), optimize=True)


if __name__ == "__main__":
    main()
