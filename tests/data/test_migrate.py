"""Files of the form before losses had their options inside: one clear message, and a command that rewrites them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from small_model import save_small_model
from typer.testing import CliRunner

from itm import cli
from itm.config import load
from itm.data.migrate import migrate
from itm.errors import ConfigError, DataError, ModelError
from itm.methods.saved import load_model

ROOT = Path(__file__).parents[2]


def old_form(entry: dict) -> dict:
    options = {key: value for key, value in entry["loss"].items() if key != "type"}
    return {"loss": entry["loss"]["type"], **options, **{key: entry[key] for key in ("similarity", "add")}}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """params.yaml of this repository as it would have been, with a comment of somebody's own."""
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["method"] = {name: old_form(entry) for name, entry in values["method"].items()}
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        file.write("# chosen on dev\n")
        YAML(typ="safe").dump(values, file)
    return path


def test_an_old_params_file_is_told_and_rewritten(old: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 entries of `method` have an old form \(clip, ditm, vse\).*itm migrate"):
        load(old)
    done = CliRunner().invoke(cli.app, ["migrate", str(old)])
    assert done.output.strip() == f"{old}: 3 methods rewritten"
    assert load(old) == load(ROOT / "params.yaml")
    assert old.read_text().startswith("# chosen on dev\n")
    before = old.read_bytes()
    assert migrate(old) == 0
    assert old.read_bytes() == before


@pytest.mark.slow
def test_an_old_model_is_told_and_rewritten(tmp_path: Path) -> None:
    folder = save_small_model(tmp_path)
    path = folder / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "method": old_form(card["method"])}))
    with pytest.raises(ModelError, match=r"the card of clip, seed 0 has an old form.*itm migrate FOLDER/model.json"):
        load_model(folder)
    assert migrate(path) == 1
    present = json.loads(path.read_text())
    newer = {key: value for key, value in card["method"].items() if key not in ("loss", "similarity", "add")}
    assert {**present, "method": {**present["method"], **newer}} == card
    assert set(newer.values()) <= {None}  # what the old form did not know is off
    load_model(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("params.yaml", None, "cannot be read"),
        ("params.yaml", "a: [", "not valid YAML"),
        ("params.yaml", "a: 1", "holds no methods"),
        ("model.json", None, "no such file|missing"),
        ("model.json", "[]", "holds no methods"),
    ],
)
def test_what_holds_no_methods_is_refused(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises((ConfigError, DataError), match=message):
        migrate(tmp_path / name)
