"""Names for `itm preset`: recipes (how one trains) times data sets, a data set alone, older names of both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from itm.errors import ConfigError, nearest, shown
from itm.parse import beginning, parse_yaml

CONF = "conf"
_DATA = "data="

OLDER = {
    "scenes-smoke": "smoke data=scenes",
    "flickr8k-mini": "smoke data=flickr8k",
    "flickr8k-tokens": "tokens data=flickr8k",
    "flickr8k-vitb32": "fine-tuned data=flickr8k",
    "flickr30k-vitb32": "fine-tuned data=flickr30k",
    "coco-vitb32": "fine-tuned data=coco",
    "flickr30k-butd": "regions data=flickr30k",
    "coco-butd": "regions data=coco",
    "vsd-ablation": "scratch data=scenes methods=[clip,vsd-only,vsd] seeds=[0,1,2]",
    "vsd-ablation-flickr8k": "offline data=flickr8k methods=[clip,vsd-only,vsd] seeds=[0,1,2]",
}
"""Names that there were one by one, and what each stands for; no list shows them."""


class Choice(NamedTuple):
    """A recipe, the data set whose differences it takes, and what is then changed."""

    name: str
    """As asked for, with the data set: what `itm preset` takes for the same."""
    groups: list[str]
    """Which files of conf/ are composed."""
    overrides: list[str]


def choices(group: str, root: Path) -> dict[str, str]:
    """The names of a group in conf/ ("recipe", "method", ...) with the description that opens each file."""
    files = sorted((root / CONF / group).glob("*.yaml"), key=lambda file: file.stem)
    return {file.stem: _description(file) for file in files}


def alone(data: str) -> str:
    """The recipe of a data set that is named without one."""
    return "scratch" if data == "scenes" else "offline"


def goes_with(recipe: str, root: Path) -> list[str]:
    """The data sets that a recipe is for: those that `goes_with` of its file lists, else all.

    Raises:
        ConfigError: `goes_with` is no list of data sets.
    """
    file, every = root / CONF / "recipe" / f"{recipe}.yaml", choices("data", root)
    said = parse_yaml(beginning(file), str(file), ConfigError)
    named = said.get("goes_with") if isinstance(said, dict) else None
    if named is None:
        return sorted(every)
    if not isinstance(named, list) or not named or set(map(str, named)) - set(every):
        raise ConfigError(
            f"{file}: goes_with must be a list of {', '.join(every)}, not {shown(named)}", reason="goes-with"
        )
    return sorted(named)


def choose(word: str, overrides: Iterable[str], root: Path) -> Choice:
    """What the first word of `itm preset` and the overrides after it name.

    `data=` beside a recipe chooses the data set with all that the recipe has of its own for it. Beside a data set or
    an older name it is a group like others: other photos, nothing else changed.

    Raises:
        ConfigError: no such word, a recipe without a data set, or one that does not go with it.
    """
    overrides = list(overrides)
    data, recipes = choices("data", root), choices("recipe", root)
    if word in recipes:
        named = [each.removeprefix(_DATA) for each in overrides if each.startswith(_DATA)]
        others = [each for each in overrides if not each.startswith(_DATA)]
        return Choice(f"{word} {_DATA}{_matched(word, named, root)}", _groups(word, named[0], root), others)
    if word in data:
        recipe, own, more = alone(word), word, []
    elif word in OLDER:
        recipe, own, *more = OLDER[word].replace(_DATA, "").split()
    else:
        hint = nearest(word, [*recipes, *data, *OLDER])
        hint = hint if hint.startswith("did") else nearest(word, [*recipes, *data])
        raise ConfigError(
            f"no preset '{word}'; {hint} (`itm preset` lists recipes and data sets)", reason="unknown-preset"
        )
    groups = _groups(recipe, own, root)
    if any(each.startswith(_DATA) for each in overrides):
        groups = [each for each in groups if not each.startswith(_DATA)]
    return Choice(word, groups, [*more, *overrides])


def sections(root: Path) -> dict[str, dict[str, str]]:
    """What `itm preset` lists: recipes and data sets, each name with a line."""
    every = choices("data", root)
    recipes = {}
    for name, text in choices("recipe", root).items():
        sets = goes_with(name, root)
        recipes[name] = text if len(sets) == len(every) else f"{text} [{', '.join(sets)}]"
    return {
        "Recipes, `itm preset RECIPE data=DATA [KEY=VALUE]...`": recipes,
        "Data sets; alone, `itm preset DATA`, with the recipe in brackets": {
            name: f"{text} [{alone(name)}]" for name, text in every.items()
        },
    }


def _groups(recipe: str, data: str, root: Path) -> list[str]:
    own = f"{recipe}/{data}"
    return [f"recipe={own if (root / CONF / 'recipe' / f'{own}.yaml').is_file() else recipe}", f"{_DATA}{data}"]


def _matched(recipe: str, named: list[str], root: Path) -> str:
    """The one data set that is named beside a recipe."""
    sets, every = goes_with(recipe, root), choices("data", root)
    if len(named) != 1:
        given = f"{len(named)} data sets" if named else "no data set"
        raise ConfigError(
            f"recipe '{recipe}': {given} named; give one of {', '.join(sets)}, as in `itm preset {recipe} "
            f"data={sets[0]}`",
            reason="no-data-set",
        )
    if named[0] not in every:
        raise ConfigError(f"data={named[0]}: no such choice; {nearest(named[0], every)}", reason="unknown-choice")
    if named[0] not in sets:
        others = [each for each in choices("recipe", root) if named[0] in goes_with(each, root)]
        raise ConfigError(
            f"recipe '{recipe}' does not go with data={named[0]}; it goes with {', '.join(sets)}, and data={named[0]} "
            f"with the recipes {', '.join(others)} ({CONF}/recipe/{recipe}.yaml lists them under goes_with)",
            reason="no-such-pair",
        )
    return named[0]


def _description(file: Path) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line[2:]
    return ""
