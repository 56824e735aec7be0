"""Values of params.yaml that would run, read or send something: refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itm.config.parameters import validate
from itm.errors import ConfigError

ROOT = Path(__file__).parents[2]
RUNS = [
    "x' ; id > f ; echo '",
    "x$(id>f)",
    "`id`",
    "two words",
    "a\nb",
    "../up",
    "-option",
    ".hidden",
    "a/b",
    "ünter",
    "",
]
KEYS = ["AWS_SECRET_ACCESS_KEY", "HOME", "my_api_key", "API_KEY", "X_API_KEY; id", "OPENAI_API_KEY\n"]
SERVERS = [
    "http://elsewhere.test/v1",
    "http://localhost.elsewhere.test/v1",
    "http://localhost@elsewhere.test/v1",
    "http://user@localhost/v1",
    "ftp://localhost/v1",
    "elsewhere.test",
]


def changed(key: str, value: object) -> dict:
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    section, name = key.split(".")
    values[section][name] = value
    return values


@pytest.mark.parametrize("name", RUNS)
def test_the_name_of_a_source_file_is_a_plain_one(name: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.files\.0 = "):
        validate(changed("data.files", [name]), "params.yaml")


@pytest.mark.parametrize("name", KEYS)
def test_only_variables_of_keys_are_sent(name: str) -> None:
    values = changed("describe.api_key_variable", name)
    values["describe"]["server"] = "https://models.test/v1"
    with pytest.raises(ConfigError, match=r"describe\.api_key_variable = "):
        validate(values, "params.yaml")


@pytest.mark.parametrize("server", SERVERS)
def test_a_key_goes_along_encrypted_only(server: str) -> None:
    values = changed("describe.api_key_variable", "MODELS_API_KEY")
    values["describe"]["server"] = server
    with pytest.raises(ConfigError, match="must begin with https://"):
        validate(values, "params.yaml")


@pytest.mark.parametrize("server", ["https://models.test/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"])
def test_a_key_may_go_to_a_server_here_or_by_tls(server: str) -> None:
    values = changed("describe.api_key_variable", "MODELS_API_KEY")
    values["describe"]["server"] = server
    validate(values, "params.yaml")
