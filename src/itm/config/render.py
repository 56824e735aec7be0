"""Parameters as the text of params.yaml: in the models' order, a comment a section, floats that every reader knows."""

from __future__ import annotations

import io
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from itm.config.parameters import Parameters


def render(parameters: Parameters, preset: str) -> str:
    """The text of a params.yaml that holds `parameters`; `preset` is named in its first line.

    Equal parameters give equal text. A float is written with a point even when it has an exponent, because
    YAML 1.1 readers take ``1e-05`` for a string.
    """
    tree = CommentedMap()
    for name, value in parameters.model_dump(exclude_none=True).items():
        field = Parameters.model_fields[name]
        tree[name] = _commented(value)
        comment = field.description or _first_line(field.annotation) or _HEADINGS.get(name, "")
        tree.yaml_set_comment_before_after_key(name, before=f"\n{comment}" if isinstance(value, dict) else comment)
    yaml = YAML()
    yaml.width = 1000
    yaml.Representer = _Representer
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return _HEADER.format(preset=preset) + stream.getvalue()


_HEADER = """\
# Composed by `itm preset {preset}`. Both runners read this file; change keys here or with `dvc exp run -S key=value`.
# docs/configuration.md explains every parameter; `itm check` validates this file.

"""

_HEADINGS = {
    "method": "One entry a method: its name in the results, its loss with options, its similarity, what is added."
}


class _Representer(RoundTripRepresenter):
    """ruamel's representer with floats that YAML 1.1 and 1.2 readers agree on."""


def _represent_float(representer: _Representer, value: float) -> ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    node: ScalarNode = representer.represent_scalar("tag:yaml.org,2002:float", text)
    return node


_Representer.add_representer(float, _represent_float)


def _commented(value: Any) -> Any:
    """Nested values with lists and pairs of bounds on one line."""
    if isinstance(value, list):
        sequence = CommentedSeq(value)
        sequence.fa.set_flow_style()
        return sequence
    if isinstance(value, dict):
        mapping = CommentedMap((key, _commented(item)) for key, item in value.items())
        if set(value) == {"low", "high"}:
            mapping.fa.set_flow_style()
        return mapping
    return value


def _first_line(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation.__doc__:
        return annotation.__doc__.strip().splitlines()[0]
    return ""
