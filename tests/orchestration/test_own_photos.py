"""Photos of the user's own under both runners, from the two commands of docs/own-data.md to a report."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from pipeline_project import ROOT, Project

QUICK = ["model=scratch", "methods=[clip]", "train.epochs=1", "train.threads=1", "evaluate.bootstrap_samples=10"]
PHOTOS = 24
LEFT = re.compile(r"\?\? (results/|report\.(md|html)|dvc\.lock|\.dvc/\.gitignore)| M params\.yaml")
"""What git is offered after a run: results, the report, the lock, the parameters."""


def put_photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = ["file,caption"]
    for number in range(PHOTOS):
        Image.new("RGB", (20, 16), (10 * number, 90, 255 - 10 * number)).save(folder / f"{number}.png")
        rows += [f"{number}.png,A plain colour with the number {number}", f"{number}.png,Only {number}"]
    (folder / "captions.csv").write_text("\n".join([*rows, "0.PNG,No such photo"]))


def commands() -> list[list[str]]:
    """The first block of commands of the page."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "docs/own-data.md").read_text(), re.M | re.S)
    block = next(text for language, text in blocks if not language)
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture
def project(unstubbed: Project, tmp_path: Path) -> Project:
    found = unstubbed.copy(tmp_path / "project")
    found.commit()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "made"),
    [
        (["data/clean/captions.parquet"], "results/quality.json"),
        pytest.param([], "results/runs/clip/seed0/retrieval.json", marks=pytest.mark.long),
    ],
)
def test_from_24_photos_to_a_report_in_two_commands_under_both_runners(
    project: Project, tmp_path: Path, target: list[str], made: str
) -> None:
    put_photos(project.root / "photos")
    preset, repro = commands()
    assert repro == ["dvc", "repro"]
    project.itm(*preset[1:], *QUICK)
    other = project.copy(tmp_path / "other")
    done = project.repro()
    assert "train.batch_images is 32, and the training split has 20 images: 20 a batch" in done.stdout + done.stderr
    assert '"photo-missing": 1' in project.read("results/quality.json")
    assert "2 test, 2 dev drawn by SHA-256" in project.read("results/quality.json")
    status = project.run("git", "status", "--short").stdout.splitlines()
    assert [line for line in status if not LEFT.fullmatch(line)] == []
    other.snakemake(*target)
    assert other.read(made) == project.read(made)
    if not target:
        assert other.dvc_status() == {}
        assert other.nothing_to_do()


HOSTILE = 'it\'s $(touch ran) {mine} "`touch ran`" ; é'


@pytest.mark.slow
def test_a_path_of_any_name_is_no_command_and_a_changed_photo_is_noticed(project: Project) -> None:
    """Both runners see a photo that changed or went, though no table did; neither hands the name to a shell."""
    folder = project.root / "photos" / HOSTILE
    put_photos(folder)
    project.itm("preset", "folder", f"data.path=photos/{HOSTILE}/captions.csv", *QUICK)
    clean = ["data/clean/captions.parquet"]
    project.snakemake(*clean)

    def due() -> tuple[bool, bool]:
        plan = project.run("snakemake", "-n", *clean)
        return "clean" in project.dvc_status(), "Nothing to be done" not in plan.stdout + plan.stderr

    assert due() == (False, False)
    Image.new("RGB", (20, 16), (1, 2, 3)).save(folder / "7.png")
    assert due() == (True, True)
    project.snakemake(*clean)
    assert due() == (False, False)
    (folder / "0.png").rename(folder / "0.PNG")
    assert due() == (True, True)
    project.repro("clean")
    assert '"photo-missing": 2' in project.read("results/quality.json")
    assert not list(project.root.rglob("ran"))


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.slow
def test_postscript_among_the_photos_starts_no_interpreter(project: Project, tmp_path: Path) -> None:
    """A program named `gs` on the path leaves a trace if one starts it; the photo is one that cannot be read."""
    trace, program = tmp_path / "started", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\n")
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), project.environment["PATH"]])
    folder = project.root / "photos"
    put_photos(folder)
    (folder / "evil.jpg").write_bytes(POSTSCRIPT)
    with (folder / "captions.csv").open("a") as table:
        table.write("\nevil.jpg,A page that is run")
    opened = "from PIL import Image; Image.open('photos/evil.jpg').load()"
    project.run("python", "-c", opened, ok=False, PATH=path)
    assert trace.exists(), "whoever lets Pillow open it starts the program"
    trace.unlink()
    project.itm(*commands()[0][1:], *QUICK)
    other = project.copy(tmp_path / "other")
    project.repro("clean", PATH=path)
    other.snakemake("data/clean/captions.parquet", PATH=path)
    assert not trace.exists()
    for each in (project, other):
        assert '"not-an-image": 1' in each.read("results/quality.json")
