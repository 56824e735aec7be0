"""Models of a hub that bring code: it is never run, and a commit can be named."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers

from itm.adapters import open_model
from itm.descriptions.encoders import _from_hub
from itm.descriptions.mllm import load_vision_language_model
from itm.errors import ModelError
from itm.towers.hugging_face import TextEncoder, config_of, of_hub, tokenize

ROOT = Path(__file__).parents[2]


def test_every_load_says_that_no_code_is_run() -> None:
    """Those with `**options` are called below."""
    found = 0
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                said = {word.arg: word.value for word in node.keywords}
                plain = said.get("trust_remote_code")
                assert None in said or (isinstance(plain, ast.Constant) and plain.value is False), file
                assert {None, "revision"} & said.keys() or file.name == "offline.py", file  # which reads a package
                found += 1
    assert found == 11


LOADS = {
    "encoder": (_from_hub, ("AutoTokenizer", "AutoModel")),
    "captioner": (
        lambda name, revision: load_vision_language_model(name, revision, "cpu"),
        ("AutoProcessor", "AutoModelForImageTextToText"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", LOADS)
def test_code_beside_the_weights_is_not_run(tmp_path: Path, part: str) -> None:
    trace = tmp_path / "started"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: pass\n")
    ways = {name: "evil.Evil" for name in ("AutoConfig", *LOADS[part][1])}
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        (tmp_path / file).write_text(json.dumps({"model_type": "evil", "auto_map": ways}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        LOADS[part][0](str(tmp_path), "")
    assert not trace.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("given", "asked"), [("", "main"), ("0123abc", "0123abc")])
@pytest.mark.parametrize("part", LOADS)
def test_a_revision_is_asked_for(monkeypatch: pytest.MonkeyPatch, part: str, given: str, asked: str) -> None:
    calls: list[dict[str, Any]] = []

    def load(_: str, **options: Any) -> None:
        calls.append({key: options[key] for key in ("revision", "trust_remote_code")})
        if len(calls) == 2:
            raise OSError("enough")

    for name in LOADS[part][1]:
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", load)
    with pytest.raises(ModelError, match="enough"):
        LOADS[part][0]("some/model", given)
    assert calls == [{"revision": asked, "trust_remote_code": False}] * 2


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("some/model", ("some/model", "main")),
        ("some/model@0123abc", ("some/model", "0123abc")),
        ("some/model@refs/pr/1", ("some/model", "refs/pr/1")),
        ("some/model@", ("some/model@", "main")),  # which no hub has, and none takes for the newest
        ("@0123abc", ("@0123abc", "main")),
        ("a@b/folder", ("a@b/folder", "main")),
        ("", ("", "main")),
    ],
)
def test_a_name_with_a_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, asked: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a@b/folder").mkdir(parents=True)
    assert of_hub(model) == asked


NAMED = {
    "a text encoder's configuration": (config_of, "AutoConfig"),
    "its tokens": (lambda name: tokenize(name, ["a dog"], 8), "AutoTokenizer"),
    "its weights": (lambda name: TextEncoder.take_weights(SimpleNamespace(name=name)), "AutoModel"),
    "a model to evaluate": (lambda name: open_model(f"hf:{name}"), "AutoModel"),
    "one of sentences": (lambda name: open_model(f"st:{name}"), "SentenceTransformer"),
}


@pytest.mark.parametrize("part", NAMED)
def test_a_revision_in_the_name_is_asked_for(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    calls: list[tuple[str, str, bool]] = []

    def load(name: str, *, revision: str, trust_remote_code: bool, **_: Any) -> None:
        calls.append((name, revision, trust_remote_code))
        raise OSError("enough")

    door, kind = NAMED[part]
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=load))
    if hasattr(transformers, kind):
        monkeypatch.setattr(getattr(transformers, kind), "from_pretrained", load)
    with pytest.raises(ModelError, match=r"some/model@0123abc.*enough"):
        door("some/model@0123abc")
    assert calls == [("some/model", "0123abc", False)]
