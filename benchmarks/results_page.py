"""The tables of report.md as a page under docs/results, with the command, commit and machine that made them.

    itm preset flickr8k 'seeds=[0,1,2]' && dvc repro
    python benchmarks/results_page.py flickr8k --title "Flickr8k and HierarCaps: real photos, three seeds"

What stands in benchmarks/remarks/NAME.md comes first: what a reader must know before quoting a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
from contextlib import chdir
from pathlib import Path

import smoke

from itm.config import load
from itm.config.presets import changes, compose

ROOT = Path(__file__).parents[1]
SECTIONS_LEFT_OUT = ("Provenance",)


def git(*arguments: str, folder: Path = Path()) -> str:
    asked = ["git", "-C", str(folder), *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """The commit that made the figures; code or parameters that are not committed are said."""
    changed = git("status", "--porcelain", "--", "src", "dvc.yaml", "data", "conf")
    return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if changed else "")


def command() -> str:
    """The `itm preset` that gives params.yaml, with what differs from the preset, and the run."""
    found = re.search(r"`itm preset ([^`]*)`", Path("params.yaml").read_text(encoding="utf-8").splitlines()[0])
    if not found:
        return "dvc repro"
    stated = load()
    word, *overrides = shlex.split(found[1])
    preset = compose(word, overrides, root=Path.cwd()).model_dump()
    preset["method"] = {name: entry for name, entry in preset["method"].items() if name in stated.method}
    different = changes(preset, stated.model_dump())
    keys = [f"'{change.key}={json.dumps(change.new, separators=(',', ':'))}'" for change in different]
    return " ".join(["itm preset", found[1], *keys, "&& dvc repro"])


def machine() -> str:
    names = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{os.cpu_count()} cores ({names[0] if names else 'unknown CPU'})"


def remark(name: str) -> str:
    """What a person has to say of the page NAME.md; empty where there is nothing."""
    file = ROOT / f"benchmarks/remarks/{name}.md"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def write_or_print(page: Path | None, text: str) -> None:
    """Write a page, or print it where no file is named."""
    if page:
        page.write_text(text, encoding="utf-8")
    else:
        print(text)


def write_section(page: Path, script: str, title: str, text: str) -> None:
    """Write one section of a page that several benchmarks share; the others stay, in the order of their scripts."""
    name = Path(script).name
    head = page.read_text(encoding="utf-8") if page.is_file() else f"# {page.stem.capitalize()}\n\n"
    mark = "<!-- Written by benchmarks/{}. Do not edit. -->"
    found = re.split(r"^<!-- Written by benchmarks/(\S+)\. Do not edit\. -->\n", head, flags=re.MULTILINE)
    sections = {**dict(zip(found[1::2], found[2::2], strict=True)), name: f"\n## {title}\n\n{text.strip()}\n\n"}
    parts = [mark.format(each) + "\n" + sections[each] for each in sorted(sections)]
    page.write_text(found[0] + "".join(parts).rstrip() + "\n", encoding="utf-8")


def page(title: str, opening: str) -> str:
    report = Path("report.md").read_text(encoding="utf-8")
    summary, *sections = re.split(r"^## ", report.split("\n", 1)[1], flags=re.MULTILINE)
    kept = [f"## {section}" for section in sections if not section.startswith(SECTIONS_LEFT_OUT)]
    head = [
        "<!-- Written by benchmarks/results_page.py from report.md. Do not edit. -->",
        f"# {title}",
        *([opening] if opening else []),
        f"Made at commit {commit()} on {machine()} by\n\n```\n{command()}\n```",
        summary.strip(),
    ]
    return "\n\n".join(head) + "\n\n" + "".join(kept).rstrip() + "\n"


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("name", help="the page is NAME.md")
    found.add_argument("--title", required=True)
    found.add_argument("--run", type=Path, default=Path(), help="folder in which the pipeline has run")
    found.add_argument("--out", type=Path, default=ROOT / "docs/results")
    return found


def main() -> None:
    given = smoke.read(parser(), "scenes --title Scenes --run {run} --out {scratch}")
    with chdir(given.run):
        text = page(given.title, remark(given.name))
    (given.out / f"{given.name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
