"""Presets: what conf/ composes to, and what is refused."""

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from presets import preset, write_small_conf
from ruamel.yaml import YAML

from itm.config import load
from itm.config.presets import Change, changes, compose, in_use, project_root
from itm.config.recipes import choices, goes_with
from itm.config.render import render
from itm.errors import ConfigError
from itm.parse import flatten

ROOT = Path(__file__).parents[2]
PAIRS = [(recipe, data) for recipe in choices("recipe", ROOT) for data in goes_with(recipe, ROOT)]
OWN = {"folder": {"data.path": "photos"}}
SLOW = pytest.mark.slow  # Hydra needs half a second for one, and there are many


@pytest.fixture(scope="module")
def few_methods(tmp_path_factory):
    """A folder with a conf/ that composes quickly."""
    return write_small_conf(tmp_path_factory.mktemp("few"))


@pytest.mark.parametrize(
    ("recipe", "data"), [pair if pair == ("scratch", "scenes") else pytest.param(*pair, marks=SLOW) for pair in PAIRS]
)
def test_every_pair_composes_all_there_is_and_survives_the_file(recipe, data, tmp_path):
    parameters, name = preset(recipe, f"data={data}", changes=OWN.get(data)), f"{recipe} data={data}"
    assert parameters.data.name == data
    assert set(parameters.method) == set(choices("method", ROOT))
    assert set(parameters.datasets.model_dump()) == set(choices("datasets", ROOT))
    file = tmp_path / "params.yaml"
    file.write_text(render(parameters, name))
    found = load(file)
    assert found == parameters
    assert render(found, name) == file.read_text()


def test_every_file_of_every_group_is_described():
    for group in (str(folder.relative_to(ROOT / "conf")) for folder in (ROOT / "conf").glob("**/")):
        for choice, description in choices(group, ROOT).items():
            assert description.endswith((".", ").")) or "." in description, (group, choice)
            assert len(description) < 120, (group, choice)


@pytest.mark.slow
def test_recipes_do_what_their_names_promise():
    scenes, smoke = preset("scenes"), preset("smoke", "data=scenes")
    assert scenes.data.name == smoke.data.name == "scenes"
    assert smoke.datasets.scenes.train_images < scenes.datasets.scenes.train_images
    flickr, mini, vit = (preset(recipe, "data=flickr8k") for recipe in ("offline", "smoke", "fine-tuned"))
    assert flickr.benchmarks == mini.benchmarks == vit.benchmarks == ["retrieval", "judgements", "hierarcaps"]
    assert (flickr.towers.kind, flickr.towers.frozen) == ("offline", True)
    assert mini.towers == flickr.towers.model_copy(update={"image_size": 128})
    assert (flickr.datasets.flickr8k.subset, mini.datasets.flickr8k.subset) == ("all", "mini")
    assert preset("tokens", "data=flickr8k").towers.tokens
    assert preset("regions", "data=coco").regions.use
    assert (vit.towers.kind, vit.towers.open_clip_model, vit.towers.frozen) == ("open_clip", "ViT-B-32", False)


@pytest.mark.slow
def test_every_yaml_reader_finds_the_same_values(tmp_path):
    parameters = preset("fine-tuned", "data=flickr8k", changes={"train.tower_learning_rate": 1e-7})
    file = tmp_path / "params.yaml"
    file.write_text(render(parameters, "fine-tuned data=flickr8k"))
    expected = parameters.model_dump(exclude_none=True)
    assert YAML(typ="safe").load(file) == expected
    assert yaml.safe_load(file.read_text()) == expected
    assert OmegaConf.to_container(OmegaConf.load(file)) == expected


def test_overrides_change_keys_groups_and_add_methods(few_methods):
    parameters = compose(
        "scenes",
        [
            "seeds=[0,1,2]",
            "train.epochs=3",
            "train.tower_learning_rate=1e-7",
            "model=offline",
            "+method.wide={like: vse, loss: {margin: 0.4, mining: sum}}",
        ],
        root=few_methods,
    )
    assert parameters.seeds == [0, 1, 2]
    assert parameters.train.epochs == 3
    assert parameters.train.tower_learning_rate == 1e-7
    assert parameters.towers.kind == "offline"
    assert parameters.method["wide"].loss.margin == 0.4


def test_in_use_are_the_listed_entries_and_those_that_an_override_is_about(few_methods):
    overrides = ["methods=[ditm-margin]", "method.esl-token.loss.margin=0.3"]
    whole = compose("scenes", overrides, root=few_methods)
    found = in_use(whole, overrides)
    assert set(found.method) == {"ditm-margin", "esl-token"}
    assert found.method["ditm-margin"] == whole.method["ditm-margin"]
    assert found.model_copy(update={"method": whole.method}) == whole
    assert set(in_use(whole).method) == {"ditm-margin"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("scene", "", r"no preset 'scene'; did you mean 'scenes'\?"),
        ("scenes", "train.epohs=3", r"train.epohs: unknown parameter; did you mean 'train.epochs'\?"),
        ("scenes", "epochs=3", r"epochs: unknown parameter; did you mean 'train.epochs'\?"),
        ("scenes", "zzz=3", r"zzz: unknown parameter; known: benchmarks, clean, data"),
        ("scenes", "model=ofline", r"model=ofline: no such choice; did you mean 'offline'\?"),
        ("scenes", "method=[clip,vsee]", r"method=vsee: no such choice; did you mean 'vse'\?"),
        ("scenes", "preset=flickr8k", r"preset: give one preset, as the first word"),
        ("scenes", "recipe=offline", r"recipe: give one recipe, as the first word"),
        ("scenes", "goes_with=[coco]", r"goes_with: unknown parameter"),
        (
            "scenes",
            "train.epochs=many",
            r"preset 'scenes' train.epochs=many: 1 invalid parameter\n  train.epochs = 'many'",
        ),
        ("scenes", "train.epochs=0", r"train.epochs = 0: .*greater than or equal to 1"),
        ("scenes", "+train.epohs=3", r"train.epohs: unknown key; did you mean 'epochs'\?"),
        ("scenes", "~train.epochs", r"train.epochs: missing"),
        ("scenes", "train.epochs", r"preset 'scenes': Error parsing override 'train.epochs'"),
        ("scenes", "seeds=[0", r"preset 'scenes': "),
        ("scenes", "data=flickr8k benchmarks=[cxc]", r"data set 'flickr8k' has no benchmark 'cxc'"),
        ("scenes", "methods=[clipp]", r"'clipp' has no entry under `method`; did you mean 'clip'\?"),
        ("scenes", "towers.frozen=true", r"frozen towers need pretrained weights"),
    ],
)
def test_what_is_wrong_is_named(few_methods, name, overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(name, overrides.split(), root=few_methods)


@pytest.mark.slow
def test_a_variant_follows_what_it_is_like_and_states_its_difference(few_methods):
    """ditm-margin is like ditm; what a preset or an override makes of ditm holds for it, where it says nothing else."""
    found = compose("scenes", ["method.ditm.loss.margin_width=0.5", "method.ditm.loss.margin=0.4"], root=few_methods)
    ditm, margin = (found.method[name].loss.model_dump() for name in ("ditm", "ditm-margin"))
    assert (margin["margin_width"], margin["margin"]) == (0.5, 0.4)
    assert {key for key in ditm if ditm[key] != margin[key]} == {
        "base", "refinement", "image_score", "warmup_epochs", "soft_weight", "label_slope", "order_weight",
        "order_margin", "radius_weight", "radius_margin",
    }  # fmt: skip
    changed = compose("scenes", ["method.ditm-margin.loss.margin_width=0.25"], root=few_methods)
    assert changed.method["ditm-margin"].loss.margin_width == 0.25
    assert changed.method["ditm"].loss.margin_width == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{like: ditn}", r"method.own.like: no entry 'ditn'; did you mean 'ditm'\?"),
        ("{like: own}", r"method.own.like: leads back to itself"),
        ("{like: clip, add: {queue: {like: vse}}}", r"method.own.add.queue.like: the entry 'vse' has no add.queue"),
        ("{like: clip, loss: {type: vse}}", r"method.own.loss.margin: missing"),
    ],
)
def test_a_variant_of_nothing_is_refused(few_methods, entry, message):
    with pytest.raises(ConfigError, match=message):
        compose("scenes", [f"+method.own={entry}"], root=few_methods)


def test_changes_list_new_changed_and_removed_keys():
    old = {"seeds": [0], "train": {"epochs": 1, "old": True}}
    new = {"seeds": [0, 1], "train": {"epochs": 1}, "extra": {"x": 1}}
    assert changes(old, new) == [
        Change("seeds", [0], [0, 1]),
        Change("extra.x", None, 1),
        Change("train.old", True, None),
    ]
    assert changes(new, new) == []


def test_root_is_found_from_below_and_missed_outside(tmp_path):
    assert project_root(ROOT / "src" / "itm") == ROOT
    with pytest.raises(ConfigError, match=r"no conf/config.yaml here or above"):
        project_root(tmp_path)


def test_parameters_file_has_the_keys_of_the_presets():
    """Everyone who adds a parameter states it in conf/ too; method entries of one's own are allowed."""
    stated = flatten(YAML(typ="safe").load(ROOT / "params.yaml"))
    composed = flatten(preset("scenes").model_dump())
    missing = [key for key in composed if key not in stated and not key.startswith("method.")]
    extra = [key for key in stated if key not in composed and not key.startswith("method.")]
    assert (missing, extra) == ([], [])


def test_a_method_without_an_entry_is_named() -> None:
    with pytest.raises(ConfigError, match=r"params.yaml has no entry 'vsee'; did you mean 'vse'\?; `itm preset NAME"):
        load(ROOT / "params.yaml").entry("vsee")
