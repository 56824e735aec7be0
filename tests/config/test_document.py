"""docs/configuration.md says what the models, conf/ and dvc.yaml say."""

from pathlib import Path

import pytest
from presets import preset
from ruamel.yaml import YAML

from itm.config import document
from itm.config.document import stages_of, tracking
from itm.parse import flatten

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    assert (ROOT / document.PAGE).read_text() == document.page(ROOT), "stale: run `make docs`"


def test_the_page_names_every_parameter():
    text = (ROOT / document.PAGE).read_text()
    for key in flatten(preset("scenes").model_dump(exclude_none=True)):
        name = key.rsplit(".", 1)[1] if key.startswith("method.") else key
        if name not in ("loss", "type", "similarity", "add"):
            assert f"| `{name}` |" in text, key


def test_check_tells_a_stale_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(document, "project_root", lambda: tmp_path)
    monkeypatch.setattr(document, "page", lambda root: "new\n")
    monkeypatch.setattr("sys.argv", ["document", "--check"])
    (tmp_path / "docs").mkdir()
    assert document.main() == 1
    assert "run `make docs`" in capsys.readouterr().err
    (tmp_path / document.PAGE).write_text("new\n")
    assert document.main() == 0


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("train.epochs", ["train"]),
        ("method.ditm.loss.order_weight", ["train"]),
        ("method.clip.loss.margin", ["train"]),
        ("methods", ["train@", "report"]),
        ("device", []),
        ("data.files", ["fetch@", "clean"]),
        ("data.name", ["clean"]),
    ],
)
def test_what_tracks_a_key(key, stages):
    tracked = tracking(
        {
            "stages": {
                "fetch": {"matrix": {"file": "${data.files}"}, "params": ["datasets.${data.name}"]},
                "clean": {"params": ["data"]},
                "train": {"matrix": {"method": "${methods}"}, "params": ["train", "method.${item.method}"]},
                "report": {"params": ["methods"]},
            }
        }
    )
    assert stages_of(key, tracked) == stages


def test_every_parameter_but_the_device_and_the_logger_is_tracked_by_a_stage():
    tracked = tracking(YAML(typ="safe").load(ROOT / "dvc.yaml"))
    parameters = flatten(preset("scenes").model_dump())
    assert [key for key in parameters if not stages_of(key, tracked)] == ["device", "logger"]
