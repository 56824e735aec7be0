"""Time, size and make-up of the built-in data set at the parameters of params.yaml: the figures of docs/scenes.md.

python benchmarks/scenes.py [--sheet docs/images/scenes.png]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import smoke

from itm.config import load
from itm.data.scenes import tables, write_images, write_scenes
from itm.data.scenes.generate import scenes
from itm.data.scenes.render import render
from itm.data.scenes.sheet import write_sheet

Result = TypeVar("Result")


def timed(name: str, work: Callable[[], Result]) -> Result:
    begin = time.process_time()
    result = work()
    print(f"{name:34} {time.process_time() - begin:6.2f} s CPU")
    return result


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--params", type=Path, default=Path("params.yaml"))
    found.add_argument("--sheet", type=Path, help="also write a contact sheet here")
    return found


def main() -> None:
    given = smoke.read(parser(), "--params {params} --sheet {scratch}/sheet.png")
    parameters = load(given.params).datasets.scenes
    with tempfile.TemporaryDirectory() as folder:
        logic, pictures = Path(folder, "scenes.jsonl"), Path(folder, "scenes-images.tar")
        timed("write_scenes", lambda: write_scenes(parameters, logic))
        timed("write_images", lambda: write_images(parameters, pictures))
        found = timed("tables (truth, ratings, checks)", lambda: tables(logic, parameters.seed))
        print(f"scenes.jsonl {logic.stat().st_size / 1e6:.1f} MB, pictures {pictures.stat().st_size / 1e6:.1f} MB")
    some = list(islice(scenes(parameters, "train", captions=False), 1000))
    timed(
        "render, 1,000 pictures",
        lambda: [render(scene, parameters.image_size, parameters.noise, parameters.seed) for scene in some],
    )
    captions = found.captions.assign(words=found.captions["text"].map(lambda text: len(text.split())))
    print(captions.groupby("level")["words"].agg(["mean", "max"]).round(1).to_string())
    test = captions[captions["split"] == "test"]
    print(test.groupby("level")["multiplicity"].agg(["mean", "median", "max"]).round(1).to_string())
    print(f"distinct texts {captions['text'].nunique()} of {len(captions)}; pairs that are true on test: ", end="")
    print(f"{(found.truth['test_grade'] == 5).mean():.2%}")
    print("distinct texts of chains by level:", found.hierarchies.groupby("level")["text"].nunique().to_dict())
    held_out = found.images.loc[found.images["split"] == "test", "held_out"]
    print(f"test images with a held-out combination: {held_out.mean():.1%}")
    print(found.ratings.groupby(["kind", "sampling"])["score"].agg(["size", "mean"]).round(2).to_string())
    if given.sheet:
        write_sheet(parameters, given.sheet, rows=5, columns=2)


if __name__ == "__main__":
    main()
