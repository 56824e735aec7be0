"""Models of a hub that bring code: it is never run, and a commit can be named."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from itm.descriptions.encoders import _from_hub
from itm.descriptions.mllm import load_vision_language_model
from itm.errors import ModelError

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
