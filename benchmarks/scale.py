"""A stand-in of COCO through the stages: time and peak memory of each, beside what `itm plan` says beforehand.

    python benchmarks/scale.py [--images 123287] [--captions 616767] [--parts 20 5 1] [--page docs/results/scale.md]

The stand-in (benchmarks/stand_in_coco.py) has COCO's counts, or these divided by each of `--parts`: generated captions
of COCO's lengths, photos of 64 x 48 random colours, so that what grows with the numbers is seen without 25 GB; the
smallest size is run a second time with photos of 640 x 480. Each stage has a process of its own: seconds of the wall
and of the processor, and the most memory that it held (the kernel's figure), with the libraries that it loads.
Threads: one, but for the two that clean decodes with. `features` are those of a tiny transformer with random weights
(64 wide, one layer a tower, 32 px, 32 tokens). `tags` are the images' words (`describe.captioner: tags`); `grade` and
`evaluate` compare drawn vectors of width 512 for the dev and test split; `index` indexes the image features; `bulk
score` is `python -m itm.text.bulk`, which reads captions chunk by chunk. Planned: what the formulas of `itm plan`
(src/itm/runs/plan/stages.py) give for these counts and photos, before anything ran.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import smoke
from results_page import ROOT, commit, machine, write_section

TOWER = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
FILES = ("train2014.zip", "val2014.zip", "caption_datasets.zip")
OVERRIDES = (
    f"data.files=[{','.join(FILES)}]",
    *("benchmarks=[retrieval]", "datasets.coco.check_protocol=false", "methods=[clip]", "device=cpu"),
    *("towers.kind=open_clip", "towers.open_clip_model=tiny", "towers.image_size=32", "towers.context_length=32"),
    *("describe.captioner=tags", "train.threads=1", "evaluate.bootstrap_samples=10"),
)
SMALL, LARGE = (64, 48), (640, 480)
MODEL = "models/clip/seed0"
WIDTH = 512
TABLES = ("--clean", "data/clean")
STAGES = {
    "clean": ("itm.stages.clean", "--raw", "data/raw/coco", "--out", "data/clean", "--quality", "results/quality.json"),
    "score": ("itm.stages.score", *TABLES, "--out", "data/scored", "--metrics", "results/score.json"),
    "bulk score": ("itm.text.bulk", "run", "data/clean/captions.parquet", "--out", "bulk.parquet"),
    "features": ("itm.stages.features", *TABLES, "--regions", "data/regions", "--out", "data/features"),
    "tags": ("scale", "--do", "tags"),
    "index": ("scale", "--do", "index"),
    "grade": (
        *("itm.stages.grade", "--method", "clip", "--seed", "0", "--model", MODEL, *TABLES, "--scored", "data/scored"),
        *("--embeddings", "embeddings", "--out", MODEL),
    ),
    "evaluate": (
        *("itm.stages.evaluate", "--benchmark", "retrieval", "--method", "clip", "--seed", "0", *TABLES),
        *("--scored", "data/scored", "--embeddings", "embeddings", "--grade", f"{MODEL}/grade.json"),
        *("--metrics", "results", "--per-query", "evaluations"),
    ),
}
WITHIN, SECONDS, BYTES = 1.5, 10, 10e6
"""A plan is right where the ratio of planned and measured is at most this, either way; less than so many seconds or
bytes is not judged."""


@dataclass
class Run:
    """What a process took: seconds of the wall and of the processor, the most bytes held, bytes written."""

    seconds: float
    processor: float
    memory: float
    disk: float = 0.0


def measured(folder: Path, module: str, *arguments: str) -> Run:
    """Run a module as __main__ in a folder; ends this program where that fails."""
    # open_clip must know the tower in every process that builds it; features is the one stage that does
    known = "import open_clip; open_clip.add_model_config('tiny.json'); " if module.endswith("features") else ""
    start = f"import runpy, sys; sys.argv = {[module.rsplit('.', 1)[-1], *arguments]!r}; "
    code = f"{start}{known}runpy.run_module({module!r}, run_name='__main__', alter_sys=False)"
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    own = {"PYTHONPATH": path, "ITM_CATALOGUE": str(folder / "catalogue.yaml"), "ITM_MIRROR": str(folder / "mirror")}
    with (folder / "log.txt").open("w+", encoding="utf-8") as log:
        before = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env={**os.environ, **single, **own}, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - before
    if child.returncode:
        log_text = (folder / "log.txt").read_text(encoding="utf-8")
        sys.exit(f"{module} {' '.join(arguments)} ended with status {child.returncode}:\n{log_text}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def stages_of(folder: Path) -> Iterator[tuple[str, Run]]:
    """Each stage in turn, in a folder that `prepare` made."""
    runs = [measured(folder, "itm.stages.download", "--file", file, "--out", "data/raw/coco") for file in FILES]
    yield (
        "download",
        Run(
            sum(run.seconds for run in runs),
            sum(run.processor for run in runs),
            max(run.memory for run in runs),
            _size(folder / "data/raw"),
        ),
    )
    written = {"clean": "data/clean", "score": "data/scored", "features": "data/features"}
    for name, command in STAGES.items():
        if name == "grade":
            measured(folder, "scale", "--do", "draw")
        run = measured(folder, *command)
        run.disk = _size(folder / written[name]) if name in written else 0.0
        yield name, run


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def prepare(images: int, captions: int, size: tuple[int, int]) -> None:
    """Make the stand-in and its parameters in this folder, and write what is planned for it."""
    import open_clip
    from stand_in_coco import write_stand_in

    from itm.config.presets import compose
    from itm.config.render import render
    from itm.runs.plan.models import count_parameters
    from itm.runs.plan.stages import Counts, needs

    sizes = write_stand_in(Path(), images, captions, size)
    parameters = compose("coco", OVERRIDES, root=ROOT)
    Path("params.yaml").write_text(render(parameters, "coco"), encoding="utf-8")
    Path("data").mkdir()
    shutil.copy(ROOT / "data/catalogue.yaml", "data/catalogue.yaml")
    Path("tiny.json").write_text(json.dumps(TOWER), encoding="utf-8")
    open_clip.add_model_config("tiny.json")
    photos = sizes["train2014.zip"] + sizes["val2014.zip"]
    found = needs(parameters, count_parameters(parameters), Counts(images, captions, photos))
    Path("plan.json").write_text(json.dumps({name: asdict(need) for name, need in found.items()}), encoding="utf-8")


def draw() -> None:
    """Vectors of the dev and test split as a model's embeddings, and a model's folder for their calibrator."""
    import numpy as np

    from itm.data.files import write_npz
    from itm.data.layout import DEV_EMBEDDINGS, EMBEDDINGS, MODEL_CARD, MODEL_WEIGHTS
    from itm.data.tables import read_captions, read_images

    rng = np.random.default_rng(0)
    images, captions = read_images(Path("data/clean")), read_captions(Path("data/clean"))
    for file, split in ((DEV_EMBEDDINGS, "dev"), (EMBEDDINGS, "test")):
        ids = images.loc[images["split"] == split, "image_id"].to_numpy().astype(str)
        rows = np.flatnonzero((captions["split"] == split).to_numpy())
        image = rng.standard_normal((len(ids), WIDTH), np.float32)
        own = np.searchsorted(ids, captions["image_id"].to_numpy()[rows].astype(str))
        text = image[own] + 2 * rng.standard_normal((len(rows), WIDTH), np.float32)
        protocol = {"method": "clip", "seed": 0, "split": split, "similarity": "dot", "width": WIDTH}
        arrays = {"image_ids": ids, "image": image, "text_ids": rows, "text": text, "protocol": json.dumps(protocol)}
        write_npz(Path("embeddings") / file, arrays)
    Path(MODEL).mkdir(parents=True)
    for name in (MODEL_CARD, MODEL_WEIGHTS):
        (Path(MODEL) / name).touch()


def tags() -> None:
    """The likeliest words of all images, without vectors of them."""
    from itm.config import load
    from itm.descriptions.run import Tables, describe_images

    parameters, tables = load(), Tables.read(Path("data/clean"), Path("data/features"))
    found, _ = describe_images(tables, parameters.describe, parameters.towers, "cpu")
    assert len(found) == len(tables.images)


def index() -> None:
    """An index of the image features, as `itm index` writes it."""
    from itm.data.layout import IMAGE_FEATURES
    from itm.data.tables import read_images
    from itm.features import read_features
    from itm.index.vectors import Facts, write_index

    found = read_features(Path("data/features") / IMAGE_FEATURES)
    assert found is not None
    names = read_images(Path("data/clean"), ["image_id"])["image_id"].tolist()
    write_index(Path("images.index"), names, found.pooled, Facts("0", "tiny", "dot", "data/clean", MODEL))


def rows_of(label: str, run: Run, plan: dict[str, dict[str, float]], stage: str) -> tuple[str, list[str]]:
    """A row of the table, and what is planned wrongly."""
    cells, wrong = [], []
    for what, unit, value in (
        ("memory", 1e6, run.memory),
        ("disk", 1e6, run.disk),
        ("seconds", 1.0, run.processor),
    ):
        planned = plan.get(stage, {}).get(what)
        cells.append(f"{value / unit:,.0f}" if value else "")
        if planned is None:
            cells.append("")
            continue
        ratio = planned / max(value, 1e-9)
        cells.append(f"{planned / unit:,.0f} ({ratio:.2f})")
        if max(value, planned) >= (SECONDS if what == "seconds" else BYTES) and not 1 / WITHIN <= ratio <= WITHIN:
            wrong.append(f"{label}, {stage}: {what} planned {planned / unit:,.0f}, measured {value / unit:,.0f}")
    return f"| {stage} | {label} | {run.seconds:,.0f} | {' | '.join(cells)} |", wrong


def parser() -> argparse.ArgumentParser:
    from stand_in_coco import CAPTIONS, IMAGES

    found = smoke.parser(__doc__)
    found.add_argument("--images", type=int, default=IMAGES)
    found.add_argument("--captions", type=int, default=CAPTIONS)
    found.add_argument("--parts", type=int, nargs="+", default=[20, 5, 1], help="sizes: the counts divided by these")
    found.add_argument("--folder", type=Path, help="where the stand-ins lie for the time; about 8 GB")
    found.add_argument("--page", type=Path, help="write the section of this Markdown file")
    found.add_argument("--do", choices=["prepare", "draw", "tags", "index"], help=argparse.SUPPRESS)
    found.add_argument("--size", type=int, nargs=2, default=SMALL, help=argparse.SUPPRESS)
    return found


def main() -> None:
    given = smoke.read(parser(), "--images 300 --captions 1500 --parts 1 --page {scratch}/page.md")
    if given.do:
        prepared = partial(prepare, given.images, given.captions, tuple(given.size))
        work: dict[str, Callable[[], None]] = {"prepare": prepared, "draw": draw, "tags": tags, "index": index}
        work[given.do]()
        return
    lines: list[tuple[str, str]] = []
    wrong: list[str] = []
    sizes = sorted((given.images // part, given.captions // part, SMALL) for part in given.parts)
    for images, captions, size in [(*sizes[0][:2], LARGE), *sizes]:
        label = f"{images:,} x {captions:,}{', 640 x 480' if size == LARGE else ''}"
        with tempfile.TemporaryDirectory(prefix="itm-scale-", dir=given.folder) as name:
            folder = Path(name)
            counts = ("--images", str(images), "--captions", str(captions), "--size", *map(str, size))
            measured(folder, "scale", "--do", "prepare", *counts)
            plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
            for stage, run in stages_of(folder):
                line, found = rows_of(label, run, plan, stage)
                print(line, *found, sep="\n", file=sys.stderr)
                lines.append((stage, line))
                wrong += found
    order = ["download", *STAGES]
    table = [line for _, line in sorted(lines, key=lambda each: order.index(each[0]))]
    within = f"within a factor of {WITHIN} (less than {SECONDS} s or {BYTES / 1e6:.0f} MB is not judged)"
    verdict = f"Not {within}:\n\n" + "\n".join(f"- {each}" for each in wrong) if wrong else f"All planned is {within}."
    print("\n".join([HEAD, *table]), verdict, sep="\n\n")
    if given.page:
        command = " ".join(["python benchmarks/scale.py", *sys.argv[1:]])
        head = f"At commit {commit()} on {machine()}, all in one run of\n\n```\n{command}\n```\n\n{PROTOCOL}"
        write_section(
            given.page, __file__, "A stand-in of COCO", "\n\n".join([head, "\n".join([HEAD, *table]), verdict])
        )


HEAD = (
    "| stage | images x captions | wall, s | memory, MB | planned | on disk, MB | planned | processor, s | planned |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|"
)
PROTOCOL = (__doc__ or "").split("\n\n", 2)[2].strip()


if __name__ == "__main__":
    main()
