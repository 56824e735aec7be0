"""Every `itm` command that takes a file, with damaged files: an answer or one message, never a traceback."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from damage import damaged, others
from safetensors.numpy import save_file
from small_model import KINDS, picture
from typer.testing import CliRunner

from itm.cli import app
from itm.descriptions import arrays
from itm.evaluation.commands import compare_app, ensemble_app, evaluate_app
from itm.evaluation.result import Result, write_together
from itm.explore.start import open_explorer
from itm.faults import message_of
from itm.grading.commands import app as grade_app
from itm.index.commands import index_app, search_app
from itm.runs.commands import runs_app
from itm.text import bulk
from itm.text.explain import app as score_app

ROOT = Path(__file__).parents[2]


def write_csv(path: Path, head: list[str], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


@pytest.fixture(scope="module")
def files(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    rng, images = np.random.default_rng(0), 40
    owners = np.repeat(np.arange(images), 3)
    vectors = rng.standard_normal((images, 8)).astype(np.float32)
    found = {
        "image_ids": np.arange(images) + 7,
        "image_embeddings": vectors,
        "caption_ids": np.arange(len(owners)) + 5,
        "caption_embeddings": vectors[owners] + 0.2 * rng.standard_normal((len(owners), 8)).astype(np.float32),
        "caption_image_ids": owners + 7,
    }
    np.savez(folder / "e.npz", **found)
    save_file(found, folder / "e.safetensors")
    captions = [(5 + row, 7 + owner, f"a {KINDS[owner % 12][row % 3]} shape") for row, owner in enumerate(owners)]
    write_csv(folder / "captions.csv", ["caption_id", "image_id", "text"], captions)
    write_csv(folder / "pairs.csv", ["image_id", "caption_id"], [(7, 5), (8, 9)])
    shutil.copy(ROOT / "params.yaml", folder)
    answer(
        grade_app,
        f"fit --embeddings {folder}/e.npz --captions {folder}/captions.csv --out {folder}/grade.json "
        f"--params {folder}/params.yaml",
    )
    answer(evaluate_app, f"--benchmark pairs --embeddings {folder}/e.npz --ranks {folder}/ranks.parquet")
    rank = np.arange(6, dtype=np.float64)
    per_query = {"image_ids": np.array(list("abcdef")), "i2t_rank": rank, "i2t_spearman": rank / 9}
    write_together({folder / "runs/seed0/retrieval.npz": Result({}, per_query, {"recall_at": [1, 5]})})
    run = {"image_ids": np.array(["a", "b"]), "image": vectors[:2], "text_ids": np.arange(3), "text": vectors[:3]}
    for name in ("one", "two"):
        (folder / name).mkdir()
        np.savez(folder / name / "embeddings.npz", **run, protocol='{"split": "test", "method": "clip", "seed": 0}')
    shutil.copy(small.idf, folder / "idf.parquet")
    shutil.copytree(small.models[0], folder / "model")
    shutil.copytree(small.clean, folder / "clean")
    answer(index_app, f"{folder}/model --images {folder}/clean --out {folder}/x.index --threads 1")
    (folder / "photos").mkdir()
    for number in (0, 1):
        (folder / f"photos/{number}.png").write_bytes(picture(*KINDS[number]))
    pq.write_table(pa.table({"text": ["a dog", "two dogs"] * 9, "split": ["train", "dev"] * 9}), folder / "t.parquet")
    (folder / "arrays").mkdir()
    captions_table = pq.read_table(folder / "clean/captions.parquet")
    texts = captions_table["text"].to_pylist()
    pq.write_table(captions_table.append_column("raw_text", pa.array(texts)), folder / "clean/captions.parquet")
    (folder / "arrays/testall_caps.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    for name in ("aux_cap_bge", "cap_bge"):
        np.save(folder / f"arrays/testall_{name}.npy", rng.standard_normal((len(texts), 4)).astype(np.float32))
    project = folder / "project"
    (project / "conf").mkdir(parents=True)
    (project / "conf/config.yaml").touch()
    (project / "results/runs/ditm/seed0").mkdir(parents=True)
    for name in ("params.yaml", "dvc.lock", "results/runs/ditm/seed0/retrieval.json"):
        shutil.copy(ROOT / name, project / name)
    return folder


def answer(commands: typer.Typer, words: str) -> str:
    """What a command prints, or its one message."""
    done = CliRunner().invoke(commands, words.split())
    error = done.exception
    if error is None:
        return done.stdout
    assert isinstance(error, Exception), f"{words}: status {done.exit_code}: {done.output}"
    told = message_of(error)
    if told is None:
        raise error
    assert len(told.encode()) < 1000 + len(words), told
    return f"itm: {told}"


explore_app = typer.Typer()


@explore_app.command()
def _open(folder: Path) -> None:
    """All that `itm explore` does before it serves."""
    opened = open_explorer(
        [folder / "model"], f"{folder}/clean", folder / "clean", folder / "idf.parquet", None, 1, lambda line: None
    )
    typer.echo(opened.of_text("hello"))


MODEL = "model/model.json model/model.safetensors"
COMMANDS: list[tuple[typer.Typer, str, str, int]] = [
    (compare_app, "{f}/ranks.parquet {f}/ranks.parquet --samples 2", "ranks.parquet", 60),
    (compare_app, "{f}/runs {f}/runs --samples 2", "runs/seed0/retrieval.npz", 60),
    (evaluate_app, "--benchmark pairs --embeddings {f}/e.npz", "e.npz", 60),
    (evaluate_app, "--benchmark pairs --embeddings {f}/e.safetensors", "e.safetensors", 60),
    (ensemble_app, "{f}/one {f}/two --clean {f}/clean --benchmark retrieval", "two/embeddings.npz params.yaml", 40),
    (
        grade_app,
        "fit --embeddings {f}/e.npz --captions {f}/captions.csv --out {f}/out.json --params {f}/params.yaml",
        "captions.csv params.yaml",
        30,
    ),
    (
        grade_app,
        "apply --grade {f}/grade.json --embeddings {f}/e.npz --captions {f}/captions.csv --pairs {f}/pairs.csv "
        "--out {f}/out.csv",
        "grade.json grade.idf.parquet pairs.csv",
        60,
    ),
    (score_app, "hello --idf {f}/idf.parquet --explain", "idf.parquet", 60),
    (search_app, "hello --index {f}/x.index --model {f}/model", f"x.index {MODEL}", 25),
    (index_app, "{f}/model --images {f}/photos --out {f}/out.index --threads 1", f"photos/0.png {MODEL}", 25),
    (
        index_app,
        "{f}/model --images {f}/clean --out {f}/out.index --threads 1",
        "clean/images.parquet clean/images-test.tar",
        25,
    ),
    (explore_app, "{f}", "clean/captions.parquet clean/hierarchies.parquet idf.parquet", 20),
    (app, "check --params {f}/params.yaml", "params.yaml", 25),
    (app, "migrate {f}/params.yaml {f}/model/model.json", "params.yaml model/model.json", 25),
    (
        arrays.app,
        "vsd-arrays {f}/arrays --out {f}/out --clean {f}/clean --an-image 3",
        "arrays/testall_caps.txt arrays/testall_cap_bge.npy clean/captions.parquet",
        25,
    ),
    (bulk.app, "run {f}/t.parquet --out {f}/out.parquet --params {f}/params.yaml", "t.parquet params.yaml", 30),
    (runs_app, "", "project/params.yaml project/dvc.lock project/results/runs/ditm/seed0/retrieval.json", 6),
]
CASES = [
    pytest.param(commands, words, name, count, id=f"{words.split(' --')[0][-20:]} {name}")
    for commands, words, names, count in COMMANDS
    for name in names.split()
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("commands", "words", "name", "count"), CASES)
def test_damaged_files_are_told_in_one_message(
    commands: typer.Typer, words: str, name: str, count: int, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files / "project" if commands is runs_app else files)
    path, words = files / name, words.format(f=files)
    whole = path.read_bytes()
    try:
        expected = answer(commands, words)
        told = []
        for content in [*damaged(whole, count), *others()]:
            path.write_bytes(content)
            told.append(answer(commands, words))
        path.unlink()
        assert answer(commands, words).startswith(("itm: ", expected[:20]))
    finally:
        path.write_bytes(whole)
    assert sum(each != expected for each in told) > len(told) // 3
