"""Values that no computation can use, refused where they are given: parameters, options, columns of tables."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itm import cli
from itm.config.presets import compose
from itm.data.readers.own_tables import read_rows
from itm.errors import ConfigError, DataError
from itm.grading.texts import read_captions
from itm.text.chunks import read_chunks

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seeds=[99999999999999999999]", "seeds: a whole number of 20 digits; at most 2^53 is taken"),
        ("seeds=[-99999999999999999999]", "seeds: a whole number of 20 digits"),
        ("train.epochs=99999999999999999999", "train: epochs: a whole number of 20 digits"),
        ("evaluate.recall_at=[1,99999999999999999999]", "evaluate: recall_at: a whole number of 20 digits"),
        ("train.learning_rate=inf", "train.learning_rate = inf: Input should be a finite number"),
        ("train.weight_decay=nan", "train.weight_decay = nan: Input should be a finite number"),
        ("train.image_memory=inf", "train.image_memory = inf: Input should be a finite number"),
        ("method.clip.loss.temperature=inf", "loss.temperature = inf: Input should be a finite number"),
    ],
)
def test_numbers_of_parameters(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose("scenes", [override], root=ROOT)
    assert said in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "words",
    [
        "compare a b --seed -1",
        "evaluate --benchmark pairs --embeddings a --seed -1",
        "diagnose ditm --seed -1",
        "grade fit --embeddings a --captions a --out a --seed -1",
    ],
)
def test_numbers_of_options(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["itm", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--seed" in capsys.readouterr().err


TEXT, SPLIT, IMAGE = pa.array(["a", "b"]), pa.array(["train", "dev"]), pa.array(["x", "y"])
GONE = pa.array(["train", None])


@pytest.mark.parametrize(
    ("names", "columns", "said"),
    [
        (["text", "split"], [TEXT, GONE], r"missing values in split \(1\); fill them"),
        (["text", "image_id"], [TEXT, GONE], r"missing values in image_id \(1\); fill them"),
        (["text", "text"], [TEXT, TEXT], "the column text comes more than once"),
        (["text", "split", "split"], [TEXT, SPLIT, SPLIT], "the column split comes more than once"),
        (["text", "image_id", "image_id"], [TEXT, IMAGE, IMAGE], "the column image_id comes more than once"),
        (["text", "split"], [TEXT, pa.array([[1], [2]])], "its column split must hold texts"),
    ],
)
def test_tables_of_captions(tmp_path: Path, names: list[str], columns: list[pa.Array], said: str) -> None:
    pq.write_table(pa.Table.from_arrays(columns, names=names), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=said):
        list(read_chunks([tmp_path / "a.parquet"], by_image="image_id" in names))


def test_splits_may_be_categories(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXT, "split": SPLIT.dictionary_encode()}), tmp_path / "a.parquet")
    (chunk,) = read_chunks([tmp_path / "a.parquet"])
    assert chunk.training is not None
    assert chunk.training.tolist() == [True, False]


def test_a_csv_with_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("caption_id,text,text\n1,a,b\n")
    with pytest.raises(DataError, match="the column text comes more than once"):
        read_captions(path, images=False)
    path.write_text("file,caption,Caption\na.jpg,a,b\n")
    with pytest.raises(DataError, match="the column caption comes more than once"):
        read_rows(path)
