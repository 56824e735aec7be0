"""docs/configuration.md, written from the parameter models, conf/ and dvc.yaml: `python -m itm.config.document`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from itm.config.additions import Additions
from itm.config.methods import RecipeParameters
from itm.config.parameters import Parameters, loss_models, similarity_models
from itm.config.presets import compose, project_root
from itm.config.recipes import OLDER, alone, choices, goes_with

Tracking = dict[str, list[list[str]]]

PAGE = Path("docs/configuration.md")

_KEY_PARTS = re.compile(r"(?:\$\{[^}]*\}|[^.])+")
"""Parts of a dotted key; a dot inside ``${...}`` does not count."""


def page(root: Path) -> str:
    """The whole text of docs/configuration.md for the project in `root`."""
    defaults = compose("scenes", root=root).model_dump()
    stages = tracking(YAML(typ="safe").load(root / "dvc.yaml"))
    parts = [_opening(root)]
    top = {name: field for name, field in Parameters.model_fields.items() if not _model(field.annotation)}
    del top["method"]
    parts.append("## Top level\n\n" + _table(_rows(top, "", defaults, stages)))
    for name, field in Parameters.model_fields.items():
        if name == "method":
            parts.append(_methods(defaults["method"], stages))
        elif model := _model(field.annotation):
            parts.append(_section(model, name, defaults[name], stages))
    return "\n\n".join(parts) + "\n"


def _opening(root: Path) -> str:
    data = choices("data", root)
    sets = {name: goes_with(name, root) for name in choices("recipe", root)}
    recipes = "\n".join(
        f"| `{name}` | {text} | {'every one' if len(sets[name]) == len(data) else ', '.join(sets[name])} |"
        for name, text in choices("recipe", root).items()
    )
    alones = "\n".join(f"| `{name}` | {text} | `{alone(name)}` |" for name, text in data.items())
    models = "\n".join(f"| `{name}` | {text} |" for name, text in choices("model", root).items())
    older = "\n".join(f"| `{name}` | `{meant}` |" for name, meant in OLDER.items())
    return f"""\
<!-- Written by `make docs` from src/itm/config, conf/ and dvc.yaml; a test compares. Do not edit. -->
# Configuration

`params.yaml` is the one configuration; DVC and Snakemake both read it, and it is validated as a whole before
anything runs: an unknown key, a wrong type, a value out of range or a benchmark that the data set lacks is an error
that names the key, the value, what is allowed and the nearest known name. Every parameter is stated there: the code
has no defaults of its own. Of the methods it states those in use; to use another, name it when params.yaml is composed.

```
itm preset                                # list recipes (how one trains) and data sets
itm preset tokens data=flickr8k           # compose params.yaml of a recipe and a data set, and see what changed
itm preset flickr8k                       # a data set alone, with its own recipe
itm preset scenes train.epochs=20         # the same with single parameters changed
itm preset scenes 'methods=[clip,aahr]'   # ... or other methods; `itm list methods` names them
itm preset scenes model=offline           # ... or a whole group of conf/
itm check                                 # is params.yaml valid?
dvc exp run -S train.epochs=20            # change single keys for one experiment
```

DVC's own Hydra mode stays off: it would compose `conf/` anew for each experiment and overwrite what was edited in
`params.yaml`. `itm preset` composes once, when asked.

| recipe | | data sets |
|---|---|---|
{recipes}

| `data` | | recipe when named alone |
|---|---|---|
{alones}

A recipe is a file of `conf/recipe`; where a data set needs something of its own, `RECIPE/DATA.yaml` there stands in its
place. A group can be changed alone, as in `itm preset scenes model=offline`:

| group `model` | |
|---|---|
{models}

Older names still work:

| name | is |
|---|---|
{older}

The tables below give each parameter's type and range, its value in the preset `scenes`, and the stages that track
it: those run again when it changes, and then what depends on their results. `train@` means that the list's values
say which train stages there are: a new value adds stages and runs no old one again. No stage tracks `device` and
`logger`: where a stage computes, and who looks on, is no part of what it computes; [reproducing.md](reproducing.md)
says what holds elsewhere."""


def _section(model: type[BaseModel], name: str, values: dict[str, Any], stages: Tracking) -> str:
    nested = {key: inner for key, field in model.model_fields.items() if (inner := _model(field.annotation))}
    plain = {key: field for key, field in model.model_fields.items() if key not in nested}
    text = f"## {name}\n\n{_first_line(model)}"
    rows = _rows(plain, f"{name}.", values, stages)
    for key, inner in nested.items():
        if name == "datasets":
            table = _table(_rows(inner.model_fields, f"{name}.{key}.", values[key], stages))
            text += f"\n\n### {name}.{key}\n\n{_first_line(inner)}\n\n{table}"
        else:
            rows += _rows(inner.model_fields, f"{name}.{key}.", values[key], stages)
    return text + (f"\n\n{_table(rows)}" if rows else "")


def _methods(entries: dict[str, dict[str, Any]], stages: Tracking) -> str:
    """One table a method type, with a column for each entry of that type."""
    tracked = ", ".join(stages_of("method.x", stages))
    text = (
        "## method\n\nOne entry a method: a name of your choice (it appears in the results), its `loss`, its "
        "`similarity` and additions (`add`),\neach with options of its own. Any loss goes with any similarity and "
        "any additions.\n"
        "A changed entry trains that method again and runs what follows from it, and leaves "
        f"the other methods alone. Tracked by: {tracked}.\n`methods` lists which entries run."
    )
    text += "\n\n### loss\n\n" + Parts(entries, "loss").overview()
    for model in loss_models():
        kind = get_args(model.model_fields["type"].annotation)[0]
        text += f"\n\n#### loss.type: {kind}\n\n{_first_line(model)}" + Parts(entries, "loss", kind).table(model)
    text += "\n\n### similarity\n\n" + Parts(entries, "similarity").overview()
    for model in similarity_models():
        kind = get_args(model.model_fields["type"].annotation)[0]
        text += f"\n\n#### similarity.type: {kind}\n\n{_first_line(model)}" + Parts(entries, "similarity", kind).table(
            model
        )
    text += "\n\n### add\n\n" + Parts(entries, "add").overview()
    for name, field in Additions.model_fields.items():
        (model,) = (each for each in (field.annotation, *get_args(field.annotation)) if _model(each))
        text += f"\n\n#### add.{name}\n\n{_first_line(model)}" + Parts(entries, "add", name).table(model)
    own = {name: values["recipe"] for name, values in entries.items() if values["recipe"]}
    lines = [
        f"| `{key}` | {_type(field)} |"
        + "".join(f" {_value(each[key])} |" for each in own.values())
        + f" {field.description} |"
        for key, field in RecipeParameters.model_fields.items()
    ]
    head = "".join(f" `{name}` |" for name in own)
    table = "\n".join([f"| `recipe` | type |{head} |", "|---|---|" + "---|" * (len(own) + 1), *lines])
    return text + f"\n\n### recipe\n\n{_first_line(RecipeParameters)}\n\n{table}"


_PARTS = {"loss": "what is minimised", "similarity": "how pairs are compared", "add": "what is added; {} = nothing"}


@dataclass(frozen=True)
class Parts:
    """One part (`loss`, `similarity`, `add`) of all entries; `kind` narrows it to those of one type or addition."""

    entries: dict[str, dict[str, Any]]
    part: str
    kind: str = ""

    def overview(self) -> str:
        """Which entry has what."""
        kinds = {name: self._kinds(values[self.part]) or ["nothing"] for name, values in self.entries.items()}
        found = sorted({kind for each in kinds.values() for kind in each})
        lines = [
            f"| `{kind}` | " + ", ".join(f"`{n}`" for n, each in kinds.items() if kind in each) + " |" for kind in found
        ]
        return "\n".join([f"| {_PARTS[self.part]} | entries |", "|---|---|", *lines])

    def table(self, model: Any) -> str:
        """The options of one kind, with a column for each entry that has it."""
        own = {name: each for name, values in self.entries.items() if (each := self._of(values[self.part])) is not None}
        fields = {key: field for key, field in model.model_fields.items() if key != "type"}
        if not fields:
            return ""
        head = "".join(f" `{name}` |" for name in own)
        lines = [f"| option | type |{head} |", "|---|---|" + "---|" * (len(own) + 1)]
        for key, field in fields.items():
            shown = "".join(f" {_value(values[key])} |" for values in own.values())
            lines.append(f"| `{key}` | {_type(field)} |{shown} {_cell(field.description)} |")
        return "\n\n" + "\n".join(lines)

    def _kinds(self, values: dict[str, Any]) -> list[str]:
        if self.part != "add":
            return [values["type"]]
        return [name for name, options in values.items() if options is not None]

    def _of(self, values: dict[str, Any]) -> dict[str, Any] | None:
        if self.kind not in self._kinds(values):
            return None
        found: dict[str, Any] = values if self.part != "add" else values[self.kind]
        return found


def _rows(fields: dict[str, FieldInfo], prefix: str, values: dict[str, Any], stages: Tracking) -> list[str]:
    rows = []
    for key, field in fields.items():
        name = prefix + key
        used = ", ".join(stages_of(name, stages)) or "no stage"
        rows.append(f"| `{name}` | {_type(field)} | {_value(values[key])} | {_cell(field.description)} | {used} |")
    return rows


def _table(rows: list[str]) -> str:
    return "\n".join(["| parameter | type | `scenes` | | tracked by |", "|---|---|---|---|---|", *rows])


def _type(field: FieldInfo) -> str:
    """The type of a parameter in words, with its range."""
    bounds = []
    for constraint in field.metadata:
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
            if (bound := getattr(constraint, name, None)) is not None:
                bounds.append(f"{sign} {bound}")
        if getattr(constraint, "min_length", 0):
            bounds.append("not empty")
    return ", ".join([_words(field.annotation), *bounds])


def _words(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return _words(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return f"list of {_words(get_args(annotation)[0])}"
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_words(part) for part in get_args(annotation) if part is not NoneType)
    return {bool: "true or false", int: "integer", float: "number", str: "text"}[annotation]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else "`''`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def tracking(pipeline: dict[str, Any]) -> Tracking:
    """For every stage, in the order of dvc.yaml, the keys that it tracks as lists of parts.

    ``${...}`` stands for any one name and becomes ``*``. The lists that a matrix runs over are given under the
    stage's name with ``@``: their values say which such stages there are.

    >>> tracking({"stages": {"train": {"matrix": {"seed": "${seeds}"}, "params": ["train", "method.${item.method}"]}}})
    {'train@': [['seeds']], 'train': [['train'], ['method', '*']]}
    """
    tracked: Tracking = {}
    for stage, facts in pipeline["stages"].items():
        if matrix := facts.get("matrix"):
            tracked[f"{stage}@"] = [values.strip("${}").split(".") for values in matrix.values()]
        # an entry that is no text names keys of another file
        keys = [_KEY_PARTS.findall(key) for key in facts.get("params", []) if isinstance(key, str)]
        tracked[stage] = [["*" if part.startswith("${") else part for part in parts] for parts in keys]
    return tracked


def stages_of(key: str, tracked: Tracking) -> list[str]:
    """The stages that run again when a parameter changes (and with them what follows), in order.

    >>> stages_of("train.threads", {"train": [["train"]], "encode": [["train", "threads"]], "report": [["seeds"]]})
    ['train', 'encode']
    """
    parts = key.split(".")
    return [stage for stage, patterns in tracked.items() if any(_covers(pattern, parts) for pattern in patterns)]


def _covers(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) <= len(parts) and all(w in ("*", p) for w, p in zip(pattern, parts, strict=False))


def main() -> int:
    """Write the page; with --check only compare it, and say when it is stale (status 1)."""
    root = project_root()
    text, file = page(root), root / PAGE
    if "--check" in sys.argv[1:]:
        current = file.is_file() and file.read_text(encoding="utf-8") == text
        print(f"{PAGE} is current" if current else f"{PAGE} is stale: run `make docs`", file=sys.stderr)
        return 0 if current else 1
    file.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
