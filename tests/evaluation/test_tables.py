import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from itm.data.tables import read_columns, read_keywords
from itm.errors import DataError
from itm.evaluation.tables import Tables
from itm.vectors.ids import positions
from itm.vectors.pipeline import read_embeddings


def test_tables_hold_the_split_only(world):
    tables = Tables(world.clean, world.scored, "test")
    assert tables.captions["caption_id"].tolist() == world.caption_ids.tolist()
    assert tables.owners.tolist() == world.owners.tolist()
    assert (tables.grades == world.grade).all()
    assert len(tables.descriptiveness) == len(world.owners)
    assert tables.root == 4 + len(world.text) - 1


def test_embeddings_are_found_by_id_in_any_order(world):
    tables, embeddings = Tables(world.clean, world.scored, "test"), read_embeddings(world.embeddings)
    assert (embeddings.texts(tables.captions["row"]) == world.text[: len(world.owners)]).all()
    assert (embeddings.images(world.image_ids[::-1]) == world.image[::-1]).all()


def test_missing_ids_become_sentinels(tmp_path):
    table = pa.table({"n": pa.array([1, None], pa.int64()), "s": pa.array([None, "a"], pa.string())})
    pq.write_table(table, tmp_path / "x.parquet")
    columns = read_columns(tmp_path / "x.parquet", ("n", "s"))
    assert (columns["n"].tolist(), columns["s"].tolist()) == ([1, -1], ["", "a"])


def test_a_split_is_read_alone_and_a_long_text_costs_its_own_length(tmp_path):
    texts = ["a", "b" * 100_000, None, "d"]
    table = pa.table({"split": ["test", "dev", "test", None], "s": texts})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1)
    columns = read_columns(tmp_path / "x.parquet", ("split", "s"), "test")
    assert {name: values.tolist() for name, values in columns.items()} == {
        "row": [0, 2],
        "split": ["test", "test"],
        "s": ["a", ""],
    }
    assert read_columns(tmp_path / "x.parquet", ("s",))["s"].nbytes == 4 * 8
    none = read_columns(tmp_path / "x.parquet", ("split", "s"), "train")
    assert [len(values) for values in none.values()] == [0, 0, 0]


@pytest.mark.parametrize("kind", [str, object])
@pytest.mark.parametrize(
    ("known", "wanted", "message"),
    [
        (["a", "b", "a"], ["b"], r"x: 1 ids occur twice \(a\)"),
        (["a", "b"], ["c", "d", "c", "b"], r"x: 2 things are missing \(c, d\)"),
        ([], ["c"], r"x: 1 things are missing"),
    ],
)
def test_ids_must_be_there_once(known, wanted, message, kind):
    with pytest.raises(DataError, match=message):
        positions(np.array(known, dtype=kind), np.array(wanted, dtype=object), "things", "x")


def test_a_split_without_captions_is_named(world):
    with pytest.raises(DataError, match="no caption of the split 'dev'"):
        _ = Tables(world.clean, world.scored, "dev").captions


def test_scores_of_other_captions_are_refused(world):
    table = pq.read_table(world.scored / "captions.parquet")
    pq.write_table(table.slice(1), world.scored / "captions.parquet")
    with pytest.raises(DataError, match=r"captions are not those of .*run `dvc repro score`"):
        _ = Tables(world.clean, world.scored, "test").descriptiveness


def _rewrite(path, **changes):
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such file; run `dvc repro encode`"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "cannot be read .*; run `dvc repro encode`"),
        (lambda path: path.write_bytes(b""), "cannot be read .*; run `dvc repro encode`"),
        (lambda path: _rewrite(path, text=None), "has no text; run `dvc repro encode`"),
        (lambda path: _rewrite(path, scores=np.eye(2)), "has no scored_images, scored_texts; run"),
        (lambda path: _rewrite(path, image=np.zeros((3, 4))), r"12 image_ids for `image` of shape \(3, 4\)"),
        (
            lambda path: _rewrite(path, image_ids=np.array([None] * 12)),
            "cannot be read .*pickle",
        ),
    ],
)
def test_damaged_embeddings_are_refused(world, damage, message):
    damage(world.embeddings / "embeddings.npz")
    with pytest.raises(DataError, match=message):
        read_embeddings(world.embeddings)


def test_damaged_tables_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_columns(tmp_path / "x.parquet", ("a",))
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_columns(tmp_path / "x.parquet", ("a",))
    pq.write_table(pa.table({"b": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column a; it has b"):
        read_columns(tmp_path / "x.parquet", ("a", "b"))


def test_keywords_of_other_captions_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file; run `dvc repro score`"):
        read_keywords(tmp_path, 3)
    sparse.save_npz(tmp_path / "keywords.npz", sparse.csr_array(np.eye(3)))
    assert read_keywords(tmp_path, 3).toarray().tolist() == np.eye(3).tolist()
    with pytest.raises(DataError, match=r"keywords.npz: 3 captions, captions.parquet has 4; run `dvc repro score`"):
        read_keywords(tmp_path, 4)
