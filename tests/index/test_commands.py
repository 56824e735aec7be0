"""`itm index` and `itm search` on folders with odd names and broken photos, and on the clean tables."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_model import KINDS, picture
from typer.testing import CliRunner

import itm
import itm.model
from itm.data.decode import square
from itm.data.files import read_json, write_json
from itm.errors import ConfigError, DataError, ModelError, ProjectError
from itm.index.commands import index_app, search_app
from itm.index.gallery import open_gallery
from itm.index.vectors import open_index
from itm.model import Model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    (folder / 'it\'s "here"').mkdir(parents=True)
    for number, kind in enumerate(KINDS):
        (folder / (f'it\'s "here"/{number} photo.PNG' if number % 2 else f"{number}.png")).write_bytes(picture(*kind))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no photo")
    return folder


def run(app: object, *words: object) -> SimpleNamespace:
    done = CliRunner().invoke(app, [str(word) for word in words])  # type: ignore[arg-type]
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)


def test_a_folder_of_photos_is_indexed_and_searched(small: SimpleNamespace, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.index"
    done = run(index_app, small.models[0], "--images", photos, "--out", out)
    assert done.code == 0
    assert f"{len(KINDS)} images" in done.out
    assert done.out.strip().endswith("; left out: 2 that cannot be read, 1 .txt")
    assert "left out: broken.jpg: " in done.err
    assert "left out: empty.png: the file is empty" in done.err
    found = run(search_app, "a red circle", "--index", out, "-k", 5).out.splitlines()
    exact = run(search_app, "a red circle", "--index", out, "-k", 5, "--exact").out.splitlines()
    assert len(found) == 5
    assert found == exact
    scores = [float(line.split()[1]) for line in found]
    assert scores == sorted(scores, reverse=True)
    every = run(search_app, "a red circle", "--index", out, "-k", 100).out
    assert 'it\'s "here"/1 photo.PNG' in every
    assert len(every.splitlines()) == len(KINDS)


def test_the_scores_are_the_models(small: SimpleNamespace, tmp_path: Path) -> None:
    """Against the model by hand: one image and one text at a time."""
    out = tmp_path / "x.index"
    run(index_app, small.models[0], "--images", small.clean, "--out", out)
    index = open_index(out)
    model = itm.load(small.models[0])
    gallery = open_gallery(str(small.clean))
    (text,) = model.encode_texts(["a large blue square"]).vectors
    rows, scores = index.search(text, 12)
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        (image,) = model.encode_images([square(gallery.read(row), model.towers.image_size)]).vectors
        assert image @ text == pytest.approx(score, abs=1e-5)


def test_texts_come_back_in_their_order(small: SimpleNamespace) -> None:
    texts = ["a small red square and a large blue circle", "a", "", "a red circle"]
    model = itm.load(small.models[0])
    together = model.text_vectors(texts)
    for text, vector in zip(texts, together, strict=True):
        assert model.encode_texts([text]).vectors[0] == pytest.approx(vector, abs=1e-5)
    assert len(model.text_vectors([])) == 0
    with pytest.raises(ModelError, match="expected a list"):
        model.text_vectors("a red circle")


def test_another_model_is_refused(small: SimpleNamespace, tmp_path: Path) -> None:
    out = tmp_path / "x.index"
    run(index_app, small.models[0], "--images", small.clean, "--out", out)
    with pytest.raises(DataError, match="made with another model") as error:
        run(search_app, "a dog", "--index", out, "--model", small.models[1])
    assert error.value.reason == "other-model"


def test_a_moved_model_is_named_with_model(small: SimpleNamespace, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(small.models[0], moved)
    run(index_app, moved, "--images", small.clean, "--out", tmp_path / "x.index")
    shutil.rmtree(moved)
    with pytest.raises(ModelError, match="--model"):
        run(search_app, "a dog", "--index", tmp_path / "x.index")
    assert run(search_app, "a dog", "--index", tmp_path / "x.index", "--model", small.models[0]).code == 0


def test_a_pairwise_model_has_no_index(small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itm.methods.method import Method

    monkeypatch.setattr(Method, "kind", "pairwise")
    with pytest.raises(ModelError, match="no vectors that could be searched") as error:
        run(index_app, small.models[0], "--images", small.clean, "--out", tmp_path / "x.index")
    assert error.value.reason == "no-index"
    assert list(tmp_path.iterdir()) == []


def test_a_changed_card_is_another_model(small: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(small.models[0], tmp_path / "model")
    before = Model(tmp_path / "model").hash
    card = read_json(tmp_path / "model/model.json")
    write_json(tmp_path / "model/model.json", card | {"seed": 7})
    assert Model(tmp_path / "model").hash != before


def test_a_model_that_is_written_while_it_is_read_is_no_model(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it may be the old one; an index under the hash of the new one would be wrong for ever."""
    shutil.copytree(small.models[0], tmp_path / "model")
    load = itm.model.load_model

    def train_meanwhile(folder: Path, **options: str) -> object:
        found = load(folder, **options)
        card = read_json(folder / "model.json")
        write_json(folder / "model.json", card | {"seed": 7})
        return found

    monkeypatch.setattr(itm.model, "load_model", train_meanwhile)
    with pytest.raises(ModelError, match="written anew while it was read") as error:
        run(index_app, tmp_path / "model", "--images", small.clean, "--out", tmp_path / "x.index")
    assert error.value.reason == "changing"
    assert not (tmp_path / "x.index").exists()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: "no such thing", ConfigError, "no such folder"),
        (lambda folder: str(folder), DataError, "holds no photo"),
        (
            lambda folder: str((folder / "a.png").write_bytes(b"x") and folder),
            DataError,
            "none of 1 images can be read",
        ),
    ],
)
def test_bad_images(
    small: SimpleNamespace, tmp_path: Path, make: object, error: type[ProjectError], message: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    images = make(folder)  # type: ignore[operator]
    with pytest.raises(error, match=message):
        run(index_app, small.models[0], "--images", images, "--out", tmp_path / "x.index")


def test_the_data_sets_name_means_its_tables(small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(small.root)
    (small.root / "params.yaml").write_text((root / "params.yaml").read_text())
    assert len(open_gallery("scenes").names) == len(KINDS)
    with pytest.raises(ConfigError, match="did you mean 'scenes'"):
        open_gallery("scene")
    with pytest.raises(DataError, match="no image of train"):
        open_gallery("scenes", ["train"])
