"""Recipes times data sets: older names are pairs of them, and what does not go together is said with what does."""

from pathlib import Path

import pytest
from presets import preset

from itm.config.recipes import OLDER, alone, choices, choose, goes_with
from itm.errors import ConfigError

ROOT = Path(__file__).parents[2]
EVERY = sorted(choices("data", ROOT))
PHOTOS = {"data.path": "photos"}
ABLATION = {"methods": ["clip", "vsd-only", "vsd"], "seeds": [0, 1, 2]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("older", "recipe", "data", "changes"),
    [
        ("coco-butd", "regions", "coco", {}),
        ("coco-vitb32", "fine-tuned", "coco", {}),
        ("flickr30k-butd", "regions", "flickr30k", {}),
        ("flickr30k-vitb32", "fine-tuned", "flickr30k", {}),
        ("flickr8k-mini", "smoke", "flickr8k", {}),
        ("flickr8k-tokens", "tokens", "flickr8k", {}),
        ("flickr8k-vitb32", "fine-tuned", "flickr8k", {}),
        ("scenes-smoke", "smoke", "scenes", {}),
        ("vsd-ablation", "scratch", "scenes", ABLATION),
        ("vsd-ablation-flickr8k", "offline", "flickr8k", ABLATION),
        ("scenes", "scratch", "scenes", {}),
        ("folder", "offline", "folder", PHOTOS),
        *((data, "offline", data, {}) for data in EVERY if data not in ("scenes", "folder")),
    ],
)
def test_an_older_name_or_a_data_set_alone_is_a_recipe_with_its_data(older, recipe, data, changes):
    own = PHOTOS if data == "folder" else {}
    assert preset(older, changes=own) == preset(recipe, f"data={data}", changes=changes)


def test_no_older_name_is_that_of_a_recipe_or_a_data_set_and_none_is_listed():
    assert not OLDER.keys() & {*choices("recipe", ROOT), *EVERY}
    with pytest.raises(ConfigError) as said:
        choose("zzz", [], ROOT)
    assert "offline" in str(said.value)
    assert not any(name in str(said.value) for name in OLDER)


def test_a_recipe_goes_with_data_sets_that_there_are():
    for recipe in choices("recipe", ROOT):
        assert set(goes_with(recipe, ROOT)) <= set(EVERY)
        own = {file.stem for file in (ROOT / "conf/recipe" / recipe).glob("*.yaml")}
        assert own <= set(goes_with(recipe, ROOT)), recipe
    assert all(data in goes_with(alone(data), ROOT) for data in EVERY)
    assert not [
        folder.name for folder in (ROOT / "conf/recipe").glob("*/") if folder.name not in choices("recipe", ROOT)
    ]


def test_data_beside_a_recipe_takes_what_the_recipe_has_for_it_and_beside_a_data_set_its_photos_alone():
    assert choose("offline", ["train.epochs=3", "data=coco"], ROOT) == (
        "offline data=coco",
        ["recipe=offline/coco", "data=coco"],
        ["train.epochs=3"],
    )
    assert choose("offline", ["data=rsicd"], ROOT).groups == ["recipe=offline", "data=rsicd"]
    other = ["recipe=offline/flickr8k"], ["data=hierarcaps"]
    assert choose("flickr8k", ["data=hierarcaps"], ROOT) == ("flickr8k", *other)
    assert choose("folder", ["data.path=a"], ROOT).groups == ["recipe=offline/folder", "data=folder"]
    assert choose("vsd-ablation", ["seeds=[4]"], ROOT).overrides[-2:] == ["seeds=[0,1,2]", "seeds=[4]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "smoke data=coco",
            "recipe 'smoke' does not go with data=coco; it goes with flickr8k, scenes, and data=coco with the recipes "
            "fine-tuned, offline, regions, scratch, tokens (conf/recipe/smoke.yaml lists them under goes_with)",
        ),
        ("regions data=hierarcaps", "it goes with coco, flickr30k, and data=hierarcaps with the recipes offline ("),
        ("smoke data=cocoo", "data=cocoo: no such choice; did you mean 'coco'?"),
        (
            "smoke",
            "recipe 'smoke': no data set named; give one of flickr8k, scenes, as in `itm preset smoke data=flickr8k`",
        ),
        ("smoke data=scenes data=flickr8k", "recipe 'smoke': 2 data sets named; give one of flickr8k, scenes"),
        ("coco-vitb23", "no preset 'coco-vitb23'; did you mean 'coco-vitb32'?"),
        ("tokns data=coco", "no preset 'tokns'; did you mean 'tokens'? (`itm preset` lists recipes and data sets)"),
        ("", "no preset ''; known: coco, fine-tuned, flickr30k, flickr8k, folder"),
    ],
)
def test_what_does_not_go_together_is_said_with_what_does(words, message):
    word, *overrides = words.split() or [""]
    with pytest.raises(ConfigError) as said:
        choose(word, overrides, ROOT)
    assert message in str(said.value)
    assert len(str(said.value)) < 1000


def test_a_recipe_of_ones_own_is_a_file(tmp_path):
    for group, name, text in (("recipe", "mine", "goes_with: [here]\n"), ("data", "here", ""), ("data", "there", "")):
        (tmp_path / "conf" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(f"# Said of {name}.\n{text}")
    assert choices("recipe", tmp_path) == {"mine": "Said of mine."}
    assert choose("mine", ["data=here"], tmp_path).groups == ["recipe=mine", "data=here"]
    with pytest.raises(ConfigError, match="does not go with data=there"):
        choose("mine", ["data=there"], tmp_path)
    for text, wrong in {
        "here": "not 'here'",
        "[]": r"not \[\]",
        "[hree]": r"not \['hree'\]",
        "[[here]]": "not",
    }.items():
        (tmp_path / "conf/recipe/mine.yaml").write_text(f"# Said of mine.\ngoes_with: {text}\n")
        with pytest.raises(ConfigError, match=f"goes_with must be a list of here, there, {wrong}"):
            choose("mine", ["data=here"], tmp_path)
    (tmp_path / "conf/recipe/mine.yaml").write_text("# Nothing but this.\n")
    assert goes_with("mine", tmp_path) == ["here", "there"]
