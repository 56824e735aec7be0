"""Files of older versions, rewritten in the present form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from itm.config.methods import has_old_form, renewed
from itm.data.files import atomic_path, read_json, write_json
from itm.errors import ConfigError
from itm.parse import beginning, parse_yaml


def migrate(path: Path) -> int:
    """Rewrite a params.yaml or a model's card; returns how many methods had an old form (0: the file is as it was).

    Comments and the order of keys stay.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds no methods.
        DataError: a model.json is missing or not JSON.
    """
    if path.suffix == ".json":
        card = read_json(path)
        if not has_old_form(_methods(card, path)):
            return 0
        write_json(path, {**card, "method": renewed(card["method"])})
        return 1
    yaml = YAML()
    yaml.width = 1000
    try:
        content = beginning(path)
        parse_yaml(content, str(path), ConfigError)  # what keeps comments below knows no limits
        values = yaml.load(content.decode("utf-8-sig"))
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})", reason="unreadable") from None
    methods = _methods(values, path)
    old = [name for name, entry in methods.items() if has_old_form(entry)]
    for name in old:
        methods[name] = renewed(methods[name])
    if old:
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yaml.dump(values, file)
    return len(old)


def _methods(values: Any, path: Path) -> dict[str, Any]:
    methods = values.get("method") if isinstance(values, dict) else None
    if not isinstance(methods, dict):
        raise ConfigError(f"{path}: holds no methods; give a params.yaml or a model.json", reason="no-methods")
    return methods
