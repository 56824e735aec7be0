"""Presets: conf/ composed to one set of parameters, checked, and told apart from another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from itm.config.parameters import Parameters, validate
from itm.config.recipes import CONF, choices, choose
from itm.errors import ConfigError, nearest
from itm.parse import flatten


def project_root(start: str | Path = ".") -> Path:
    """The nearest folder at or above `start` that holds conf/config.yaml.

    Raises:
        ConfigError: no such folder.
    """
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / CONF / "config.yaml").is_file():
            return folder
    raise ConfigError(
        f"{start}: no {CONF}/config.yaml here or above; run this inside a project (`itm new FOLDER` makes one)",
        reason="no-project",
    )


def compose(preset: str, overrides: Iterable[str] = (), *, root: Path) -> Parameters:
    """The validated parameters of a recipe with its ``data=NAME``, or of a data set alone, with overrides.

    Overrides are ``key=value`` in Hydra's grammar; a key is a dotted parameter (``train.epochs=5``) or a group of conf/
    (``model=offline``).

    Raises:
        ConfigError: unknown recipe, data set, group choice or key (the nearest known name is given), an override that
            cannot be parsed, or values that params.yaml would not accept.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    name, groups, overrides = choose(preset, map(_quoted, overrides), root)
    try:
        with initialize_config_dir(str(root / CONF), version_base="1.3"):
            whole = [*groups, f"method=[{','.join(choices('method', root))}]"]
            values = _expanded(OmegaConf.to_container(hydra_compose("config", whole), resolve=True))
            if overrides:
                _check_names(overrides, values, root)
                # a key that an entry takes from another is not there before it is expanded
                forced = [f"++{each}" if each.startswith("method.") else each for each in overrides]
                composed = hydra_compose("config", [*whole, *forced])
                values = _expanded(OmegaConf.to_container(composed, resolve=True))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"preset '{name}': {_first_lines(error)}", reason="not-composed") from None
    if values["data"]["name"] == "folder":
        values = _table_apart(values, root)
    return validate(values, " ".join([f"preset '{name}'", *overrides]))


_DATA_PATH = "data.path="


def _quoted(override: str) -> str:
    """An override of data.path whose value Hydra takes as it stands, whatever is in it.

    >>> print(_quoted("data.path=it's (mine)/a.csv"))
    data.path='it\\'s (mine)/a.csv'
    >>> _quoted("data.path='a b'")
    "data.path='a b'"
    """
    value = override.removeprefix(_DATA_PATH)
    if not override.startswith(_DATA_PATH) or re.fullmatch(r"'.*'|\".*\"", value, re.S):
        return override
    # backslashes are themselves but before a quote; ${ would be a reference to another parameter
    escaped = re.sub(r"(\\*)'", lambda found: 2 * found[1] + r"\'", value)
    escaped = re.sub(r"(\\+)$", lambda found: 2 * found[1], escaped)
    return f"{_DATA_PATH}'{escaped}'".replace("${", "\\${")


def _table_apart(values: dict[str, Any], root: Path) -> dict[str, Any]:
    """The parameters with a table or pattern in data.path as the folder and datasets.folder.table.

    So that the runners watch the photos and not their table alone. A table in a folder that also holds the project,
    whose results would be watched too, stays as it is.
    """
    path, options = Path(values["data"]["path"]).expanduser(), values["datasets"]["folder"]
    folder, table = path, options["table"]
    if not table and not (root / path).exists():
        magic = next((place for place, part in enumerate(path.parts) if re.search(r"[*?\[]", part)), 0)
        if magic:
            folder, table = Path(*path.parts[:magic]), str(Path(*path.parts[magic:]))
    elif not table and (root / path).is_file() and not root.resolve().is_relative_to((root / path.parent).resolve()):
        folder, table = path.parent, path.name
    data, datasets = (
        {**values["data"], "path": str(folder)},
        {**values["datasets"], "folder": {**options, "table": table}},
    )
    return {**values, "data": data, "datasets": datasets}


def _expanded(values: Any) -> Any:
    """The values with every `like` under `method` replaced by what it stands for.

    ``like: NAME`` in an entry, or in a part of one, means: as the same place of the entry NAME, but for the keys
    beside it. A part of another ``type`` replaces the other's whole; null takes something away.

    >>> plain = {"loss": {"type": "clip", "temperature": 0.1}, "add": {"queue": {"size": 9}}}
    >>> like = {"like": "clip", "loss": {"temperature": 0.2}, "add": {"queue": None}}
    >>> _expanded({"method": {"clip": plain, "warm": like}})["method"]["warm"]
    {'loss': {'type': 'clip', 'temperature': 0.2}, 'add': {}}

    Raises:
        ConfigError: no such entry, no such place in it, or entries that are like each other.
    """
    entries: dict[str, Any] = values["method"]

    def place(path: tuple[str, ...], asked: tuple[str, ...]) -> Any:
        """What stands at a place of an entry, expanded."""
        if path[0] not in entries:
            raise ConfigError(
                f"method.{'.'.join(asked)}.like: no entry '{path[0]}'; {nearest(path[0], entries)}",
                reason="unknown-like",
            )
        found = expand(entries[path[0]], path[:1])
        for part in path[1:]:
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise ConfigError(
                f"method.{'.'.join(asked)}.like: the entry '{path[0]}' has no {'.'.join(path[1:])}",
                reason="unknown-like",
            )
        return found

    open_places: list[tuple[str, ...]] = []

    def expand(node: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(node, dict):
            return node
        if path in open_places:
            raise ConfigError(f"method.{'.'.join(path)}.like: leads back to itself", reason="unknown-like")
        open_places.append(path)
        own = {key: expand(value, (*path, key)) for key, value in node.items() if key != "like"}
        found = _merged(place((str(node["like"]), *path[1:]), path), own) if "like" in node else own
        open_places.remove(path)
        return found

    expanded = {name: _without_null(expand(entry, (name,))) for name, entry in entries.items()}
    return {**{key: value for key, value in values.items() if key != "goes_with"}, "method": expanded}


def _without_null(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: _without_null(value) for key, value in node.items() if value is not None}


def _merged(base: Any, changes: Any) -> Any:
    both = isinstance(base, dict) and isinstance(changes, dict)
    if not both or changes.get("type", base.get("type")) != base.get("type"):
        return changes
    return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}


def in_use(parameters: Parameters, overrides: Iterable[str] = ()) -> Parameters:
    """The parameters with those entries of `method` alone that `methods` lists, or that an override is about.

    DVC reads params.yaml once for each stage: with all entries that took a third of a run that finds nothing to do.
    """
    named = {match[1] for override in overrides if (match := re.match(r"[+~]*method\.([^.=]+)", override))}
    kept = {name: entry for name, entry in parameters.method.items() if name in named or name in parameters.methods}
    return parameters.model_copy(update={"method": kept})


class Change(NamedTuple):
    """One parameter that differs; `None` stands for an absent key."""

    key: str
    old: Any
    new: Any


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The parameters that differ between two nested mappings, in the order of `new`, then those only in `old`.

    >>> changes({"seeds": [0], "train": {"epochs": 10}}, {"seeds": [0], "train": {"epochs": 20}})
    [Change(key='train.epochs', old=10, new=20)]
    """
    before, after = flatten(old), flatten(new)
    keys = [*after, *(key for key in before if key not in after)]
    return [Change(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def _check_names(overrides: list[str], base: Any, root: Path) -> None:
    """Raise for an override whose key or group choice is unknown; Hydra's own message names no neighbour."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    groups = sorted(folder.name for folder in (root / CONF).iterdir() if folder.is_dir())
    keys = flatten(base)
    sections = {key.rsplit(".", depth)[0] for key in keys for depth in range(1, key.count(".") + 1)}
    for override in OverridesParser.create().parse_overrides(overrides):
        name = override.key_or_group
        if override.is_add() or override.is_delete():
            continue
        if name in ("preset", "recipe"):
            raise ConfigError(f"{name}: give one {name}, as the first word", reason="two-presets")
        if name in groups:
            chosen = override.value()
            for choice in chosen if isinstance(chosen, list) else [chosen]:
                if choice not in choices(name, root):
                    raise ConfigError(
                        f"{name}={choice}: no such choice; {nearest(str(choice), choices(name, root))}",
                        reason="unknown-choice",
                    )
        elif name not in keys and name not in sections:
            raise ConfigError(f"{name}: unknown parameter; {_nearest_key(name, keys, groups)}", reason="unknown-key")


def _nearest_key(name: str, keys: Iterable[str], groups: Iterable[str]) -> str:
    """A hint for a mistyped key: neighbours as a whole, else the key that ends the same, else the section's keys."""
    keys = list(keys)
    hint = nearest(name, [*keys, *groups])
    if hint.startswith("did you mean"):
        return hint
    ending = [key for key in keys if key.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    siblings = [key for key in keys if key.rsplit(".", 1)[0] == name.rsplit(".", 1)[0] and "." in name]
    return nearest(name, ending or siblings or {key.split(".")[0] for key in keys})


def _first_lines(error: Exception) -> str:
    """The part of a Hydra message that a reader can use."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("See ")]
    return "\n  ".join(lines[:2])
