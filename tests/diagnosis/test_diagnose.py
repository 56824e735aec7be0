"""What a refinement does to pairs: counted by hand, and against the exact relation of generated scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from presets import preset
from scipy import sparse
from typer.testing import CliRunner

from itm.config.losses import DitmParameters
from itm.config.render import render
from itm.data.layout import CAPTIONS
from itm.data.scenes import read_scenes, tables, write_images, write_scenes
from itm.data.scenes.truth import grade
from itm.diagnosis.commands import diagnose_app
from itm.diagnosis.pairs import Diagnosis, diagnose
from itm.diagnosis.truth import LogicTruth, StoredTruth
from itm.errors import ConfigError, DataError
from itm.methods.method import Requirements
from itm.stages.clean import clean
from itm.stages.score import score
from itm.training.batches import BatchRows
from itm.training.dataset import Described
from itm.training.relations import Relations

PARAMETERS = preset("scenes")
TEXTS = ["a dog", "a white dog", "a dog", "a black dog with spots"]
OWNERS = np.array([0, 0, 1, 1])
# keywords dog, white, black, spots; every idf is 1
HOLDS = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1]])
SCORE = np.array([0.1, 0.4, 0.1, 0.9])
#: captions 0 and 2 ("a dog") are true of both images
TRUE = np.array([[1, 1, 1, 0], [1, 0, 1, 1]], dtype=bool)


class Known:
    def of(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        return TRUE[np.ix_(images, captions)]


def described() -> Described:
    relations = Relations(OWNERS, np.arange(2), SCORE, "maximum", sparse.csr_array(HOLDS.astype(float)))
    captions = pd.DataFrame({"caption_id": [10, 11, 12, 13], "text": TEXTS, "level": [1, 2, 1, 4]})
    return Described(relations, pd.DataFrame({"image_id": ["x", "y"]}), captions)


def run(truth: Known | None = None, keep: int = 9, **changes: object) -> Diagnosis:
    given = {**PARAMETERS.method["ditm"].loss.model_dump(), "soft_threshold": 0.8, **changes}
    options = DitmParameters.model_validate(given)
    return diagnose(
        "own", options, "train", described(), truth, batch_images=2, captions_per_image=2, seed=0, epochs=1, keep=keep
    )


def test_pairs_are_counted_as_by_hand() -> None:
    """Unlabelled: x with 2 (gate 1) and 3 (gate 1/3), y with 0 (gate 1) and 1 (gate 1/2, more generic than y)."""
    found = run(Known(), soft_threshold=0.4)
    assert (found.batches, found.pairs, found.relaxed, found.true, found.relaxed_true) == (1, 4, 3, 2, 2)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == 1
    assert found.average_precision == 1
    assert found.levels[1] == {"pairs": 2, "relaxed": 2, "true": 2, "relaxed_true": 2}
    assert found.levels[2] == {"pairs": 1, "relaxed": 1, "true": 0, "relaxed_true": 0}
    wrong = [pair for pair in found.examples if pair.relaxed and not pair.true]
    assert [(pair.image_id, pair.caption_id, pair.caption) for pair in wrong] == [("y", 11, "a white dog")]
    assert (wrong[0].difference, wrong[0].gate, wrong[0].relevance) == (-0.5, 0.5, pytest.approx(0.1667, abs=1e-4))
    assert wrong[0].margin is None
    assert json.loads(json.dumps(found.to_json()))["precision"] == found.precision


@pytest.mark.parametrize(
    ("changes", "relaxed"),
    [
        ({"base": "hinge", "refinement": "relative_margin"}, 3),
        ({"base": "hinge", "refinement": "absolute_margin"}, 4),
        ({"base": "hinge", "refinement": "triplet_weight"}, 3),
        ({"refinement": "masked"}, 2),
        ({"refinement": "pseudo_positives"}, 2),
    ],
)
def test_every_refinement_can_be_diagnosed(changes: dict[str, object], relaxed: int) -> None:
    found = run(Known(), **changes)
    assert found.relaxed == relaxed
    assert found.recall == 1


def test_a_control_that_relaxes_nothing_has_no_relaxed_pair() -> None:
    """As `ditm-fixed`: soft targets of weight 0, with labels that do not count alike."""
    found = run(Known(), soft_weight=0.0)
    assert (found.pairs, found.relaxed, found.recall) == (4, 0, 0)
    assert {pair.relaxed for pair in found.examples} == {False}


def test_without_a_truth_nothing_is_claimed() -> None:
    found = run()
    assert found.relaxed == 2
    assert (found.true, found.precision, found.recall, found.average_precision) == (None, None, None, None)
    assert all(pair.true is None for pair in found.examples)


def test_examples_are_few_and_spread() -> None:
    found = run(Known(), keep=1, soft_threshold=0.0)
    assert [pair.caption for pair in found.examples] == ["a dog", "a white dog"]


@pytest.mark.parametrize(
    ("changes", "message"), [({"gate": "text_cosine"}, "compares embeddings"), ({"refinement": "none"}, "is 'none'")]
)
def test_what_needs_a_model_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**changes)


class Told(Relations):
    """Relations whose gate is the truth."""

    def __init__(self, known: Relations) -> None:
        vars(self).update(vars(known))

    def containment(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        return Known().of(images, captions).astype(np.float64)


def test_an_oracle_relaxes_exactly_the_false_negatives() -> None:
    data = described()
    told = Described(Told(data.relations), data.images, data.captions)
    rows = BatchRows(np.array([1, 0]), np.array([3, 2, 0, 1]), np.array([0, 0, 1, 1]))
    labels = told.relations.labels(rows, Requirements(containment=True), torch.device("cpu"))
    assert labels.containment is not None
    assert labels.containment.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    options = DitmParameters.model_validate(
        {**PARAMETERS.method["ditm"].loss.model_dump(), "direction": False, "refinement": "masked"}
    )
    found = diagnose("oracle", options, "train", told, Known(), batch_images=2, captions_per_image=2, seed=0)
    assert found.precision == found.recall == 1


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few scenes, clean and scored, with their parameters."""
    folder = tmp_path_factory.mktemp("scenes")
    sizes = {"train": 40, "dev": 20, "test": 8}
    changes = {f"datasets.scenes.{split}_images": count for split, count in sizes.items()}
    parameters = preset("scenes", changes={**changes, "train.batch_images": 8})
    (folder / "params.yaml").write_text(render(parameters, "scenes"))
    write_scenes(parameters.datasets.scenes, folder / "raw" / "scenes.jsonl")
    write_images(parameters.datasets.scenes, folder / "raw" / "scenes-images.tar")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        clean(Path("raw"), Path("clean"), Path("quality.json"))
        score(Path("clean"), Path("scored"), Path("score.json"))
    return folder


def test_logic_and_stored_truth_agree(project: Path) -> None:
    captions = pd.read_parquet(project / "clean" / CAPTIONS)
    known = tables(project / "raw" / "scenes.jsonl").truth
    ids = [str(name) for name in known["dev_image_ids"]]
    rows = captions[captions["split"] == "dev"]
    of = rows["caption_id"].to_numpy()
    stored = StoredTruth(project / "clean", "dev", ids, of)
    logic = LogicTruth(project / "raw" / "scenes.jsonl", ids, of, list(rows["image_id"]))
    images, chosen = np.array([3, 0, 11]), np.array([50, 2, 2, 7, 31])
    assert np.array_equal(stored.of(images, chosen), logic.of(images, chosen))
    scenes = [scene for scene in read_scenes(project / "raw" / "scenes.jsonl") if scene.split == "train"]
    every = captions[captions["split"] == "train"]
    train = LogicTruth(
        project / "raw" / "scenes.jsonl",
        [scene.image_id for scene in scenes],
        every["caption_id"].to_numpy(),
        list(every["image_id"]),
    )
    expected = grade([caption.requirement for scene in scenes for caption in scene.captions], scenes) == 5
    assert len(every) == expected.shape[1]
    assert np.array_equal(train.of(np.arange(len(scenes)), np.arange(len(every))), expected)


def test_rows_without_a_truth_are_named(project: Path) -> None:
    scenes = project / "raw" / "scenes.jsonl"
    with pytest.raises(DataError, match="exact relation of the train split is not known"):
        StoredTruth(project / "clean", "train", [], np.zeros(0, np.int64))
    with pytest.raises(DataError, match=r"1 dev images have no stored truth \(.*nowhere"):
        StoredTruth(project / "clean", "dev", ["nowhere"], np.zeros(0, np.int64))
    ids = ["train-000000", "train-000001"]
    with pytest.raises(DataError, match="1 captions are of another image than in the tables"):
        LogicTruth(scenes, ids, np.array([0]), ["train-000001"])


@pytest.mark.parametrize("split", ["dev", "train"])
def test_the_command_prints_and_writes(project: Path, split: str) -> None:
    out = project / f"{split}.json"
    options = ["--split", split, "--params", str(project / "params.yaml"), "--out", str(out), "--examples", "1"]
    folders = ["--clean", "clean", "--scored", "scored", "--scenes", "raw/scenes.jsonl"]
    folders = [part if part.startswith("--") else str(project / part) for part in folders]
    wide = CliRunner(env={"COLUMNS": "200"})
    done = wide.invoke(diagnose_app, ["ditm", "ditm-margin", *options, *folders], catch_exceptions=False)
    assert done.exit_code == 0
    assert "relaxed, true" in done.output
    for found in json.loads(out.read_text()):
        assert found["split"] == split
        assert 0 < found["precision"] <= 1
        assert 0 < found["recall"] <= 1
        assert found["pairs"] == sum(level["pairs"] for level in found["levels"].values())


@pytest.mark.parametrize(("name", "message"), [("ditn", "did you mean 'ditm'"), ("clip", "relaxes no pair")])
def test_methods_that_relax_nothing_are_refused(project: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(
            diagnose_app,
            [name, "--params", str(project / "params.yaml")],
            catch_exceptions=False,
            standalone_mode=False,
        )
