"""Small made-up arrays of the authors' layout."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from itm.data.tables import read_captions
from itm.descriptions.arrays import app, import_arrays
from itm.descriptions.records import read_descriptions
from itm.errors import DataError

EACH, WIDTH = 2, 6


@pytest.fixture
def arrays(small, tmp_path):
    """Arrays for all splits of `small`, images in reverse order, texts with other blanks and case; and the tables."""
    captions = read_captions(small)
    folder = tmp_path / "authors"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, name in (("train", "train"), ("dev", "dev"), ("test", "testall")):
        table = captions[captions["split"] == split]
        order = list(dict.fromkeys(table["image_id"]))[::-1]
        texts = [text for image in order for text in table.loc[table["image_id"] == image, "raw_text"]]
        (folder / f"{name}_caps.txt").write_text("\n".join(f"{text.upper()} ." for text in texts) + "\n")
        described = rng.normal(size=(len(texts), WIDTH)).astype(np.float32)
        if split != "train":
            described[1::2] = described[::2]  # one description an image, repeated for each caption
        np.save(folder / f"{name}_aux_cap_bge_cpm_full.npy", described)
        np.save(folder / f"{name}_cap_bge.npy", np.arange(len(texts) * WIDTH).reshape(-1, WIDTH).astype(np.float32))
    return folder, captions


def test_rows_find_their_images_and_captions(arrays, tmp_path):
    folder, captions = arrays
    found = import_arrays(folder, captions, tmp_path / "out", an_image=EACH)
    assert (found.images, found.captions, found.width) == ({"train": 32, "dev": 8, "test": 8}, 96, WIDTH)
    assert set(found.missing.values()) == {0}
    descriptions = read_descriptions(tmp_path / "out/descriptions.jsonl")
    assert len(descriptions) == 32 * 2 + 16
    assert {(one.split, one.conditioned_on, one.text) for one in descriptions} == {
        ("train", "gt_caption", None),
        ("dev", "generated_caption", None),
        ("test", "generated_caption", None),
    }
    vectors = np.load(tmp_path / "out/descriptions.npy")
    ids = json.loads((tmp_path / "out/descriptions.ids.json").read_text())
    row = ids.index(["train0", 1])
    authors = np.load(folder / "train_aux_cap_bge_cpm_full.npy")
    assert np.allclose(vectors[row], authors[31 * 2 + 1], atol=1e-3)  # the first image is their last
    of_captions = np.load(tmp_path / "out/captions.npy")
    caption_ids = json.loads((tmp_path / "out/captions.ids.json").read_text())
    assert of_captions[caption_ids.index(1)][0] == (31 * 2 + 1) * WIDTH


def test_the_command_tells_what_came_over(arrays, small, tmp_path):
    folder, _ = arrays
    (folder / "testall_caps.txt").unlink()
    options = ["--out", str(tmp_path / "out"), "--clean", str(small), "--an-image", "2"]
    done = CliRunner().invoke(app, ["vsd-arrays", str(folder), *options])
    assert done.exit_code == 0, done.output
    assert "train: 32 images, 0 of the tables are without" in done.output
    assert "set describe.missing to 'zero'" in done.output


def test_it_goes_through_the_stage(arrays, small, tmp_path, options, added):
    from itm.descriptions.run import Tables, describe_images, vectors_of

    folder, captions = arrays
    import_arrays(folder, captions, tmp_path / "out", an_image=EACH)
    tables = Tables.read(small, tmp_path)
    parameters = options(captioner="file", file=str(tmp_path / "out/descriptions.jsonl"), encoder="file")
    descriptions, _ = describe_images(tables, parameters, None, "cpu")
    vectors = vectors_of(tables, descriptions, parameters, added(), None, "cpu")
    assert vectors.descriptions.shape == (80, WIDTH)
    assert vectors.counts(48).tolist() == [2] * 32 + [1] * 16
    assert vectors.captions is not None
    assert (np.abs(vectors.captions).sum(1) > 0).sum() == 96


def other_text(folder):
    lines = (folder / "dev_caps.txt").read_text().split("\n")
    (folder / "dev_caps.txt").write_text("\n".join(["what is this", "and this", *lines[2:]]))


def short(folder):
    np.save(folder / "dev_aux_cap_bge_cpm_full.npy", np.zeros((3, WIDTH)))


def infinite(folder):
    values = np.load(folder / "dev_aux_cap_bge_cpm_full.npy")
    values[2, 1] = np.inf
    np.save(folder / "dev_aux_cap_bge_cpm_full.npy", values)


def second(folder):
    np.save(folder / "dev_aux_cap_bge_flor_det.npy", np.zeros((16, WIDTH)))


def empty(folder):
    for path in folder.glob("*_caps.txt"):
        path.unlink()


def repeated(folder):
    lines = (folder / "dev_caps.txt").read_text().split("\n")
    (folder / "dev_caps.txt").write_text("\n".join([*lines[:2], *lines[:2], *lines[4:]]))


def wide(folder):
    np.save(folder / "dev_cap_bge.npy", np.zeros((16, WIDTH + 1)))


BAD = [
    (other_text, "1 images cannot be told by their captions (lines 1 to 2: 'what is this')"),
    (short, "(3, 6) for 16 captions"),
    (infinite, "1 rows hold values that are not finite"),
    (second, "2 files dev_aux_cap_*.npy"),
    (empty, "no train_caps.txt"),
    (repeated, "1 images come more than once (dev7)"),
    (wide, "vectors of different widths (6, 7)"),
]


@pytest.mark.parametrize(("damage", "message"), BAD, ids=[damage.__name__ for damage, _ in BAD])
def test_what_does_not_fit_is_told(arrays, tmp_path, damage, message):
    folder, captions = arrays
    damage(folder)
    with pytest.raises(DataError) as caught:
        import_arrays(folder, captions, tmp_path / "out", an_image=EACH)
    assert message in str(caught.value)
