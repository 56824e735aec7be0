"""Every `itm` command that takes a file, and every stage, with damaged files: the right answer, a word, or an error.

Never a traceback, a hang, or a figure of damaged bytes without a word. What can be noticed depends on the form: zip,
gzip, Parquet as this project writes it, indexes and weights carry checksums, so that any other figure is a fault here.
The rest (`PLAIN`) carries none: where damage leaves the form whole, as another digit in a CSV does, nobody can tell.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import io
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import stage_project
from damage import DAMAGES, Damage, cases, no_hang
from damaged_files import READERS, write_files
from hypothesis import given
from hypothesis import strategies as st

from itm import cli
from itm.commands import _stages
from itm.explore.start import open_explorer
from itm.faults import message_of
from itm.text import bulk

ROOT = Path(__file__).parents[2]
PLAIN = (".csv", ".txt", ".json", ".jsonl", ".yaml", ".lock", ".npy", ".tar", "e.safetensors")
PLAIN += ("features.safetensors", "vectors.safetensors", ".jpg")
MODEL = "model/model.json model/model.safetensors"
CLEAN, SCORED = "data/clean/captions.parquet", "data/scored/captions.parquet data/scored/idf.parquet"
TRAINED, VECTORS = "data/models/ditm/seed0", "data/embeddings/ditm/seed0"

ROWS: list[tuple[str, str]] = [
    ("compare ranks.parquet ranks.parquet --samples 2", "ranks.parquet"),
    ("compare runs runs --samples 2", "runs/seed0/retrieval.npz"),
    ("evaluate --benchmark pairs --embeddings e.npz", "e.npz"),
    ("evaluate --benchmark pairs --embeddings e.safetensors", "e.safetensors"),
    ("evaluate --benchmark pairs --embeddings e", "e/image_embeddings.npy e/caption_ids.npy"),
    (
        "evaluate --benchmark pairs --embeddings e.npz --grade grade.json --captions captions.csv",
        "grade.json captions.csv",
    ),
    (
        "evaluate --benchmark hierarcaps --embeddings chains.parquet --annotations published",
        "published/hierarcaps_test.csv chains.parquet",
    ),
    (
        f"ensemble {VECTORS} {VECTORS[:-1]}1 --clean data/clean --benchmark retrieval",
        f"{VECTORS}/embeddings.npz {CLEAN} params.yaml",
    ),
    ("grade fit --embeddings e.npz --captions captions.csv --out out/g.json --params params.yaml", "captions.csv"),
    ("grade fit --embeddings e.npz --captions captions.csv --out out/g.json --idf grade.idf.parquet", "e.npz"),
    (
        "grade apply --grade grade.json --embeddings e.npz --captions captions.csv --pairs pairs.csv --out out/g.csv "
        "--idf grade.idf.parquet",
        "grade.json grade.idf.parquet pairs.csv",
    ),
    ("score hello --idf idf.parquet --explain", "idf.parquet"),
    ("search hello --index x.index --model model", f"x.index {MODEL}"),
    ("index model --images photos --out out/x.index --threads 1", f"photos/0.png photos/1.jpg {MODEL}"),
    ("index model --images clean --out out/x.index --threads 1", "clean/images.parquet clean/images-test.tar"),
    (
        "explore model --images clean --captions clean --idf idf.parquet",
        "clean/captions.parquet clean/hierarchies.parquet idf.parquet",
    ),
    ("check --params params.yaml", "params.yaml"),
    ("migrate params.yaml model/model.json", "params.yaml model/model.json"),
    (
        "import vsd-arrays arrays --out out --clean clean --an-image 3",
        "arrays/testall_caps.txt arrays/testall_cap_bge.npy clean/captions.parquet",
    ),
    ("bulk run t.parquet --out out/t.parquet --params params.yaml", "t.parquet params.yaml"),
    ("bulk count t.parquet --out out/c.parquet", "t.parquet"),
    ("bulk merge counted.parquet --out out/m.parquet", "counted.parquet"),
    ("bulk score t.parquet --idf merged.parquet --out out/s.parquet", "t.parquet merged.parquet"),
    ("bulk finish scored.parquet --idf merged.parquet --out out/f.parquet", "scored.parquet merged.parquet"),
    ("runs", "project/params.yaml project/dvc.lock project/results/runs/ditm/seed0/retrieval.json"),
    ("preset scenes --check", "project/params.yaml"),
    ("list methods", "project/params.yaml project/conf/method/clip.yaml"),
    ("data verify own a.zip", "project/data/raw/own/a.zip project/data/catalogue.yaml"),
    (
        "diagnose ditm --clean data/clean --scored data/scored --params params.yaml --scenes data/raw/scenes.jsonl",
        f"{CLEAN} {SCORED} data/clean/images.parquet data/clean/truth.npz data/scored/keywords.npz",
    ),
    (
        f"transfer {TRAINED} --data data --source data --params params.yaml",
        f"{CLEAN} {TRAINED}/model.safetensors data/clean/images.parquet data/clean/texts.parquet",
    ),
    ("stage download", "params.yaml"),
    ("stage clean", "data/raw/scenes.jsonl data/raw/scenes-images.tar params.yaml"),
    ("stage score", f"{CLEAN} data/clean/hierarchies.parquet data/clean/ratings.parquet"),
    ("stage features", "data/clean/images.parquet params.yaml"),
    ("stage describe", "data/clean/images.parquet params.yaml"),
    ("stage train", f"{CLEAN} {SCORED} data/clean/images.parquet data/clean/images-train.tar data/scored/keywords.npz"),
    ("stage encode", f"{TRAINED}/model.safetensors data/clean/images.parquet data/clean/images-test.tar"),
    ("stage grade", f"{VECTORS}/dev.npz {CLEAN} data/scored/idf.parquet"),
    ("stage evaluate", f"{VECTORS}/embeddings.npz {CLEAN} data/clean/images.parquet"),
    (
        "stage report",
        f"data/results/ditm/seed0/retrieval.json data/results/ditm/seed0/retrieval.npz {CLEAN} {SCORED} "
        "data/clean/images.parquet data/clean/hierarchies.parquet data/scored/keywords.npz",
    ),
]
ROWS += [
    (f"read {name}", files)
    for name, files in {
        "features": "read/features.safetensors",
        "descriptions": "read/descriptions.jsonl",
        "description-vectors": "read/vectors.safetensors",
        "own-vectors": "read/own.npy read/own.ids.json",
        "regions": "read/regions/train_ims.npy read/regions/train_ids.txt read/regions/3.npz",
        "flickr30k": "read/dataset_flickr30k.json",
    }.items()
]
PLACES = {"runs": "project", "preset": "project", "list": "project", "data": "project"}
PLACES |= dict.fromkeys(("stage", "diagnose", "transfer", "ensemble"), "stages")
ELSEWHERE = {
    "new": "takes no file",
    "plan": "takes no file; presets are code",
    "data list": "reads the catalogue, as `data verify` does",
    "data info": "reads the catalogue, as `data verify` does",
    "data fetch": "tests/hostile/test_archives.py, tests/data/test_download.py",
    "runs verify": "tests/orchestration/test_verify.py",
    "runs sync": "takes no file",
    "runs doctor": "tests/orchestration/test_doctor.py",
    "runs du": "takes no file",
    "runs gc": "tests/orchestration/test_storage.py",
    "runs export": "opens a model, as `search` does",
    "compare revisions": "tests/hostile/test_revisions.py",
    "evaluate --images": "tests/evaluation/test_any_model.py",
    "evaluate ensemble --scored": "read for false_negatives only, as the stage evaluate does",
}
"""Commands and options with files that are in no row above, and why."""
HASH = re.compile(rb"[0-9a-f]{64}")
"""The report shows the hashes of the tables that it read."""
RESULTS = {"--out", "--ranks", "--trec", "--keep", "--evaluations"}
"""Options that name what is written."""


class Answer(NamedTuple):
    """failed: an error with a message. result: what was printed and written. said: notes, warnings, the message."""

    failed: bool
    result: tuple[tuple[str, str], ...]
    said: str


def explore(words: list[str]) -> None:
    """All that `itm explore` does before it serves, and an answer."""
    folder = Path()
    opened = open_explorer(
        [folder / "model"], "clean", folder / "clean", folder / "idf.parquet", None, 1, lambda line: None
    )
    print(opened.of_text("hello"))


def run(words: list[str]) -> None:
    if words[0] == "explore":
        explore(words)
    elif words[0] == "stage":
        stage_project.stages("ditm")[words[1]](Path("out"))
    elif words[0] == "read":
        print(hashlib.sha256(pickle.dumps(READERS[words[1]]())).hexdigest())
    elif words[0] == "bulk":
        bulk.app(words[1:])
    else:
        cli.app(words)


def ask(words: list[str]) -> Answer:
    """What a command line answers, behind the guard of all commands."""
    out, printed, said, failed = Path("out"), io.StringIO(), io.StringIO(), False
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said), no_hang():
            run(words)
    except SystemExit as ended:
        failed = ended.code not in (None, 0)
    except Exception as error:
        if (message := message_of(error)) is None:
            raise
        failed = True
        print(f"itm: {message}", file=said)
    finally:
        logging.getLogger().removeHandler(handler)
    files = sorted(path for path in out.rglob("*") if path.is_file())
    written = [(str(path), hashlib.sha256(content(path)).hexdigest()) for path in files]
    return Answer(failed, (("printed", printed.getvalue()), *written), said.getvalue())


def content(path: Path) -> bytes:
    """What a file says: of a table its values, for the stage grade copies one with what nobody reads in it."""
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pydict()).encode()
    return HASH.sub(b"", path.read_bytes())


class Files:
    """A folder with one good file of each kind, and what each row says of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reached: set[tuple[str, str]] = set()
        self._whole: dict[str, Answer] = {}

    @contextlib.contextmanager
    def place(self, words: str) -> Iterator[Path]:
        with contextlib.chdir(self.folder / PLACES.get(words.split()[0], "")):
            yield Path()

    def whole(self, words: str) -> Answer:
        """The answer of undamaged files; the functions that it called are noted."""
        if words not in self._whole:

            def note(frame: FrameType, event: str, _: Any) -> None:
                if event == "call":
                    self.reached.add((frame.f_code.co_filename, frame.f_code.co_name))

            with self.place(words):
                sys.setprofile(note)
                threading.setprofile(note)
                try:
                    found = ask(words.split())
                finally:
                    sys.setprofile(None)
                    threading.setprofile(None)
                assert not found.failed or "preset" in words, found.said
                assert found.result == ask(words.split()).result, "another answer the second time"
            self._whole[words] = found
        return self._whole[words]


@pytest.fixture(scope="module")
def files(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(write_files(tmp_path_factory.mktemp("files"), small))


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("words", "names"), ROWS, ids=[words[:40] for words, _ in ROWS])
def test_damage_is_told_or_changes_nothing(words: str, names: str, files: Files) -> None:
    expected = files.whole(words)
    top = files.folder / ("stages" if PLACES.get(words.split()[0]) == "stages" else "")

    @cases(usual=6, thorough=60)
    @given(name=st.sampled_from(names.split()), damage=DAMAGES)
    def check(name: str, damage: Damage) -> None:
        path = top / name
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        try:
            with files.place(words):
                found = ask(words.split())
        finally:
            path.write_bytes(whole)
        if found.failed:
            assert found.said.strip() or found.result != expected.result  # `--check` prints what differs
            assert len(found.said.encode()) < 1000 + len(words), found.said
        elif not name.endswith(PLAIN) and found.result != expected.result:
            assert found.said != expected.said, f"another result, and no word: {found.result}"

    check()
    with files.place(words):
        assert ask(words.split()).result == expected.result


def commands() -> dict[str, list[str]]:
    """Every command by its name, and its options that are paths."""
    listed = {name: command for group in cli.COMMANDS.values() for name, command in group.items()}
    listed |= {f"{name} {part}": each for name, command in listed.items() for part, each in command.below.items()}
    found = {}
    for name, command in listed.items():
        built = cli.load(command, name.split())
        for part, each in getattr(built, "commands", {"": built}).items():
            hints = typing.get_type_hints(inspect.unwrap(each.callback))
            paths = [one.opts[0] for one in each.params if "Path" in str(hints.get(one.name))]
            found[f"{name} {part}".strip()] = [path for path in paths if path.startswith("-")]
    return found


def test_every_command_and_each_of_its_files_is_in_the_table() -> None:
    rows = [words for words, _ in ROWS if not words.startswith(("bulk", "read"))]
    lines = [" ".join((*cli.resolve(words.split())[1], *cli.resolve(words.split())[2], "")) for words in rows]
    left, bare = dict(ELSEWHERE), []
    for name, options in commands().items():
        own = [line for line in lines if line.startswith(f"{name} ")]
        if own or name not in left:
            given = [*" ".join(own).split(), *RESULTS]
            bare += [f"{name} {option}" for option in ("", *options) if not own or (option and option not in given)]
        else:
            del left[name]
    assert [each for each in map(str.strip, bare) if not left.pop(each, "")] == []
    assert left == {}
    assert {f"stage {name}" for name in _stages()} <= {words for words, _ in ROWS}


READ_ELSEWHERE = {
    **dict.fromkeys(
        (
            *(f"data/readers/{name}.py read" for name in ("coco_photos", "flickr8k", "folder", "karpathy", "n24news")),
            *(
                "data/readers/cxc.py _read",
                "data/readers/cxc.py read_ratings",
                "data/readers/hierarcaps.py read_chains",
            ),
            *("data/readers/own_tables.py read_rows", "data/flickr8k_texts.py read_texts"),
            *(f"evaluation/published/coco_files.py read_{name}" for name in ("cxc", "gallery")),
            "evaluation/published/sources.py read_json",
        ),
        "tests/hostile/test_annotations.py",
    ),
    "evaluation/published/judgements.py read_ratings": "tests/evaluation/test_files.py",
    **dict.fromkeys(
        (
            *(f"evaluation/published/sugarcrepe.py {name}" for name in ("_read", "read_foils")),
            "evaluation/published/himo_docci.py read_chains",
        ),
        "tests/evaluation/test_wrong_and_growing.py",
    ),
    "evaluation/published/pairs.py read_gallery": "calls those of the data sets",
    "evaluation/published/items.py read_items": "as read_gallery",
    "__init__.py load": "opens a model, as `search` does",
    "data/http.py _read_note": "tests/data/test_download.py",
    "data/tables.py read_quarantine": "as the other tables",
    "data/tables.py read_ratings": "as the other tables",
    "descriptions/run.py read": "as the other tables",
    "pipeline/dag.py read_pipeline": "tests/orchestration/test_dag.py",
    "pipeline/stages.py read_yaml": "tests/orchestration/test_dag.py",
    "pipeline/doctor.py _read_lock": "tests/orchestration/test_doctor.py",
    "pipeline/revisions.py read_revision": "tests/hostile/test_revisions.py",
    "runs/storage/cache.py read_cache": "tests/orchestration/test_storage.py",
    "towers/graphs.py _open": "tests/towers/test_graphs.py",
}
"""Functions that read files and that no row reaches, and the tests that damage their files."""


def readers() -> set[tuple[str, str]]:
    """File and name of every function of src/itm that reads what lies at a path."""
    found = set()
    for file in (ROOT / "src/itm").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and re.match(r"_?(read|open|load|map)(_|$)", node.name):
                paths = ["Path" in ast.unparse(each.annotation) for each in node.args.args if each.annotation]
                found |= {(file.relative_to(ROOT / "src/itm").as_posix(), node.name)} if any(paths) else set()
    return found


@pytest.mark.slow
def test_every_function_that_reads_a_file_is_reached_by_a_row(files: Files, request: pytest.FixtureRequest) -> None:
    for words, _ in ROWS:
        files.whole(words)
    if (__file__, "ask") not in files.reached and "PYTEST_XDIST_WORKER" in os.environ:
        # seen once: a worker that had run many other tests noted no call at all. A process of its own does
        alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        command = [sys.executable, "-m", "pytest", "-n0", f"{__file__}::{request.node.name}"]
        done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return
    top = f"{ROOT / 'src/itm'}/"
    reached = {(name.removeprefix(top), function) for name, function in files.reached if name.startswith(top)}
    assert {" ".join(each) for each in readers() - reached} == set(READ_ELSEWHERE)
