"""What the tests of this folder share: options, pictures, words."""

import hashlib
from pathlib import Path

from itm.descriptions.asking import Hints, describe_by_asking
from itm.descriptions.chat import ChatServer
from itm.descriptions.questions import Picture

PLAIN = {
    "captioner": "openai",
    "per_image": 1,
    "missing": "refuse",
    "file": "",
    "model_revision": "",
    "model": "m",
    "server": "http://127.0.0.1:9/v1",
    "api_key_variable": "",
    "prompt": "Describe.",
    "condition": "none",
    "first_prompt": "",
    "maximum_tokens": 64,
    "temperature": 0.0,
    "batch_size": 2,
    "concurrency": 3,
    "attempts": 6,
    "timeout": 60.0,
    "price_input": 1.0,
    "price_output": 2.0,
    "space": "pixels",
    "captions": 2,
    "ridge": 0.1,
    "folds": 3,
    "encoder": "tfidf",
    "encoder_model": "",
    "encoder_revision": "",
    "encoder_weights": "",
    "encoder_pooling": "mean",
    "encoder_length": 32,
    "encoder_width": 8,
    "centre": False,
}

ADDED = {
    "fusion": "sum",
    "weight": 1.0,
    "captions": True,
    "several": "sampled",
    "prototype_weight": 1.0,
    "prototypes": 4,
    "prototype_seed": 0,
    "epsilon": 0.05,
    "iterations": 3,
    "prototype_temperature": 0.1,
}


def content(name: str) -> bytes:
    """What stands for the bytes of an image."""
    return b"\x89PNG" + name.encode()


def picture(row: int, split: str = "train", name: str | None = None) -> Picture:
    """A picture whose bytes are `content(name)`."""
    name = name or f"i{row}"
    return Picture(row, f"i{row}", split, hashlib.sha256(content(name)).hexdigest())


WORDS = ("dog", "cat", "bird", "car")


def ask(stub, options, pictures, **changes):
    """Descriptions by a `ChatStub`, and what they took; the journal lies in ./journal."""
    parameters = options(server=stub.address, **changes)
    names = {one.row: one.image_id for one in pictures}
    server = ChatServer(parameters, lambda row: content(names[row]), pause=0.01)
    return describe_by_asking(pictures, server, parameters, Hints(own={"i0": ["a dog", "it runs"]}), Path("journal"))


def journal_lines() -> list[str]:
    return [line for file in Path("journal").glob("*.jsonl") for line in file.read_text().splitlines()]
