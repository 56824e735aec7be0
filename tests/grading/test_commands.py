"""`itm grade fit` and `itm grade apply` on embeddings of pictures of coloured shapes."""

import csv
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from itm.errors import ProjectError
from itm.evaluation.commands import evaluate_app
from itm.grading import Calibrator
from itm.grading.commands import app
from itm.grading.texts import idf_hash
from itm.text.tables import read_idf

PARAMS = Path(__file__).parents[2] / "params.yaml"
COLOURS, SHAPES, PLACES = ["red", "green", "blue", "grey"], ["circle", "square", "star"], ["left", "right"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """120 pictures of a colour, a shape and a place; of each caption it is known which pictures it fits."""
    folder, rng = tmp_path_factory.mktemp("grade"), np.random.default_rng(0)
    kinds = list(itertools.product(COLOURS, SHAPES, PLACES))
    pictures = [kinds[row % len(kinds)] for row in range(120)]
    words = {word: rng.standard_normal(32) for word in (*COLOURS, *SHAPES, *PLACES)}
    captions = [
        (row, said)
        for row, (colour, shape, place) in enumerate(pictures)
        for said in ((shape,), (colour, shape), (colour, shape, place))
    ]
    image_ids, caption_ids = np.arange(120) * 7 + 1000, np.arange(len(captions)) + 50_000
    image = np.stack([sum(words[word] for word in one) for one in pictures]) + 0.3 * rng.standard_normal((120, 32))
    text = np.stack([sum(words[word] for word in said) for _, said in captions])
    arrays = {
        "image_ids": image_ids[::-1],
        "image_embeddings": image[::-1].astype(np.float32),
        "caption_ids": caption_ids,
        "caption_embeddings": text.astype(np.float32),
    }
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / "dev.safetensors")
    write(
        folder / "captions.csv",
        ["caption_id", "image_id", "text"],
        [(caption_ids[n], image_ids[row], f"A {' '.join(said)}") for n, (row, said) in enumerate(captions)],
    )
    fits = np.array([sum(set(said) <= set(one) for one in pictures) for _, said in captions])
    found = run("fit", *given(folder), "--out", str(folder / "grade.json"), "--params", str(PARAMS), "--normalize")
    assert found.exit_code == 0, found.exception
    return SimpleNamespace(
        folder=folder,
        arrays=arrays,
        fits=dict(zip(caption_ids.tolist(), fits.tolist(), strict=True)),
        said=found.output,
    )


def write(path, head, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(*words):
    return CliRunner().invoke(app, list(words))


def given(folder):
    return "--embeddings", str(folder / "dev.safetensors"), "--captions", str(folder / "captions.csv")


def apply(data, *words, out="out.csv"):
    return run(
        "apply", "--grade", str(data.folder / "grade.json"), *given(data.folder), "--normalize",
        "--out", str(data.folder / out), *words,
    )  # fmt: skip


def test_the_fit_writes_a_calibrator_and_its_idf_and_says_what_it_found(data):
    found = Calibrator.load(data.folder / "grade.json")
    assert found.model == "32 dimensions scaled to unit length"
    assert found.idf == idf_hash(read_idf(data.folder / "grade.idf.parquet"))
    assert found.facts["captions"] == 360
    assert "fitted on 360 captions of 120 images" in data.said
    assert "share of images that such a caption fits" in data.said


def test_the_best_captions_of_each_image(data):
    assert apply(data, "--top", "4").exit_code == 0
    rows = read(data.folder / "out.csv")
    assert len(rows) == 4 * 120
    assert {row["image_id"] for row in rows} == {str(one) for one in data.arrays["image_ids"]}
    grades = np.array([float(row["grade"]) for row in rows]).reshape(-1, 4)
    assert (np.diff(grades, axis=1) <= 0).all()
    probability = np.array([float(row["probability"]) for row in rows])
    assert np.log(probability) == pytest.approx(grades.ravel(), abs=1e-3)
    fits = np.array([float(row["fits"]) for row in rows])
    true = np.array([data.fits[int(row["caption_id"])] for row in rows])
    assert np.corrcoef(np.log(fits), np.log(true))[0, 1] > 0.9


def test_a_specific_grade_prefers_captions_that_fit_few_images(data):
    means = []
    for specificity in ("0", "1.5"):
        apply(data, "--top", "1", "--specificity", specificity)
        means.append(np.mean([data.fits[int(row["caption_id"])] for row in read(data.folder / "out.csv")]))
    assert means[1] < means[0]


def test_pairs_that_are_asked_for(data):
    image, caption = data.arrays["image_ids"][[5, 0, 5]], data.arrays["caption_ids"][[2, 1, 2]]
    pairs = write(
        data.folder / "pairs.csv", ["caption_id", "note", "image_id"], zip(caption, "abc", image, strict=True)
    )
    assert apply(data, "--pairs", str(pairs)).exit_code == 0
    rows = read(data.folder / "out.csv")
    assert [(int(row["image_id"]), int(row["caption_id"])) for row in rows] == list(
        zip(image.tolist(), caption.tolist(), strict=True)
    )
    assert rows[0] == rows[2]
    vectors = [data.arrays["image_embeddings"][5], data.arrays["caption_embeddings"][2]]
    cosine = np.dot(*vectors) / np.prod([np.linalg.norm(one) for one in vectors])
    assert float(rows[0]["similarity"]) == pytest.approx(cosine, abs=1e-4)


def test_scores_of_pairs_in_place_of_embeddings(data, tmp_path):
    arrays = dict(data.arrays)
    arrays["scores"] = arrays.pop("image_embeddings") @ arrays.pop("caption_embeddings").T
    save_file({name: np.ascontiguousarray(one) for name, one in arrays.items()}, tmp_path / "s.safetensors")
    options = ("--embeddings", str(tmp_path / "s.safetensors"), "--captions", str(data.folder / "captions.csv"))
    fitted = run("fit", *options, "--out", str(tmp_path / "g.json"), "--idf", str(data.folder / "grade.idf.parquet"))
    assert fitted.exit_code == 0, fitted.exception
    assert not (tmp_path / "g.idf.parquet").exists()
    assert Calibrator.load(tmp_path / "g.json").model == "scores of pairs"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--no-normalize"], "for the model '32 dimensions scaled to unit length', not for '32 dimensions as given'"),
        (["--model", "ViT-B-32"], "not for 'ViT-B-32: 32 dimensions"),
        (["--captions", "{folder}/none.csv"], "none.csv: No such file"),
        (["--idf", "{folder}/none.parquet"], "none.parquet: no such file"),
        (["--grade", "{folder}/none.json"], "none.json: no such file"),
        (["--captions", "{folder}/no-text.csv"], "no column text; it has caption_id, image_id"),
        (["--captions", "{folder}/words.csv"], r"1 of 2 values of caption_id are not whole numbers \(row 2: 'x'\)"),
        (["--captions", "{folder}/twice.csv"], r"1 caption ids occur more than once \(50000\)"),
        (["--captions", "{folder}/stranger.csv"], r"1 of the 1 caption ids asked for are missing \(7\)"),
        (["--captions", "{folder}/empty.csv"], "empty.csv: no column caption_id, text; it has nothing"),
        (["--captions", "{folder}/short.csv"], "short.csv: no rows below the head line"),
        (["--captions", "{folder}/missing.csv"], "not a string|missing"),
        (["--captions", "{folder}/latin.csv"], "not a CSV file in UTF-8"),
        (["--pairs", "{folder}/pairs7.csv"], r"pairs7.csv: 1 caption ids are not in the table of captions \(7\)"),
        (["--pairs", "{folder}/images7.csv"], r"1 of the 1 image ids asked for are missing \(7\)"),
        (["--specificity", "nan"], "the specificity is nan"),
        (["--embeddings", "{folder}/pictures.npz"], "no array `caption_embeddings`; the file holds image_embeddings"),
        (["--embeddings", "{folder}/no-ids.npz"], "no array `caption_ids`; the file holds caption_embeddings, image"),
    ],
)
def test_bad_input_writes_nothing_and_says_why(data, words, message):
    folder = data.folder
    write(folder / "no-text.csv", ["caption_id", "image_id"], [(50_000, 1000)])
    pictures = {name: values for name, values in data.arrays.items() if name.startswith("image")}
    np.savez(folder / "pictures.npz", **pictures)
    np.savez(folder / "no-ids.npz", **pictures, caption_embeddings=data.arrays["caption_embeddings"])
    write(folder / "words.csv", ["caption_id", "text"], [(50_000, "a"), ("x", "b")])
    write(folder / "twice.csv", ["caption_id", "text"], [(50_000, "a"), (50_000, "b")])
    write(folder / "stranger.csv", ["caption_id", "text"], [(7, "a")])
    (folder / "empty.csv").write_text("")
    (folder / "short.csv").write_text("caption_id,text\n")
    (folder / "missing.csv").write_text("caption_id,text\n50000\n")
    (folder / "latin.csv").write_bytes("caption_id,text\n50000,caf\xe9\n".encode("latin-1"))
    write(folder / "pairs7.csv", ["image_id", "caption_id"], [(1000, 7)])
    write(folder / "images7.csv", ["image_id", "caption_id"], [(7, 50_000)])
    found = apply(data, *(word.format(folder=folder) for word in words), out="bad.csv")
    assert isinstance(found.exception, ProjectError), found.output
    with pytest.raises(ProjectError, match=message):
        raise found.exception
    assert not (folder / "bad.csv").exists()


def test_half_precision_is_read_with_a_note(data):
    half = data.arrays["caption_embeddings"].astype(np.float16)
    np.savez(data.folder / "half.npz", **data.arrays | {"caption_embeddings": half})
    found = apply(data, "--embeddings", str(data.folder / "half.npz"), out="half.csv")
    assert found.exit_code == 0, found.exception
    assert "note: " in found.output
    assert "caption_embeddings is float16: read as float32" in found.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--params", "{folder}/none.yaml"], "none.yaml: no such file"),
        (["--captions", "{folder}/other.csv"], r"1 of the 1 image ids asked for are missing \(7\)"),
        (["--captions", "{folder}/one.csv"], "120 images and 1 captions; with fewer than two"),
        (["--anchor", "2"], "anchor 2.0; expected a quantile between 0 and 1"),
    ],
)
def test_a_fit_that_fails_leaves_nothing(data, tmp_path, words, message):
    write(data.folder / "other.csv", ["caption_id", "image_id", "text"], [(50_000, 7, "a")])
    write(data.folder / "one.csv", ["caption_id", "image_id", "text"], [(50_000, 1000, "a")])
    out = tmp_path / "grade.json"
    options = ("--params", str(PARAMS), "--out", str(out))
    found = run("fit", *given(data.folder), *options, *(word.format(folder=data.folder) for word in words))
    with pytest.raises(ProjectError, match=message):
        raise found.exception
    assert not list(tmp_path.iterdir())


def test_benchmarks_rank_by_grades(data, tmp_path):
    """`itm evaluate --grade`: image-to-text ranks are those of the grades, text-to-image ranks do not move."""
    owners = np.array([int(row["image_id"]) for row in read(data.folder / "captions.csv")])
    arrays = {**data.arrays, "caption_image_ids": owners}
    save_file({name: np.ascontiguousarray(each) for name, each in arrays.items()}, tmp_path / "pairs.safetensors")
    folder = data.folder
    given = ["--benchmark", "pairs", "--embeddings", str(tmp_path / "pairs.safetensors"), "--normalize"]
    how = ["--grade", str(folder / "grade.json"), "--captions", str(folder / "captions.csv")]

    def figures(*words, out="metrics.json"):
        done = CliRunner().invoke(evaluate_app, [*given, *words, "--out", str(tmp_path / out)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads((tmp_path / out).read_text())

    plain = figures()
    found = {at: figures(*how, "--specificity", at) for at in ("0", "1")}
    owner = dict(zip(data.arrays["caption_ids"].tolist(), owners.tolist(), strict=True))
    for at, graded in found.items():
        assert graded["protocol"]["grade"] == {"file": "grade.json", "specificity": float(at)}
        apply(data, "--top", "10", "--specificity", at)
        lists = read(folder / "out.csv")
        hits = [owner[int(row["caption_id"])] == int(row["image_id"]) for row in lists]
        assert graded["pairs/i2t/r10"] == pytest.approx(np.reshape(hits, (-1, 10)).any(axis=1).mean())
    assert found["0"]["pairs/i2t/r10"] != found["1"]["pairs/i2t/r10"]
    for k in (1, 5, 10):
        assert found["1"][f"pairs/t2i/r{k}"] == plain[f"pairs/t2i/r{k}"]
    with pytest.raises(ProjectError, match="--grade needs --embeddings FILE and --captions FILE"):
        figures(*how[:2], out="none.json")
    given.remove("--normalize")
    with pytest.raises(ProjectError, match="was fitted for the model '32 dimensions scaled to unit length'"):
        figures(*how, out="none.json")
    given.append("--normalize")
    (tmp_path / "few.csv").write_text("caption_id,text\n50000,a thing\n")
    with pytest.raises(ProjectError, match=r"few\.csv: 359 caption ids are not in the table"):
        figures(*how[:3], str(tmp_path / "few.csv"), out="none.json")
    assert not (tmp_path / "none.json").exists()
