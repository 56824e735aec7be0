"""Replies that are no descriptions: kept, counted once, and not asked for again without the user's word."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest
from chat_server import ChatStub
from described import ask, content, journal_lines, picture

from itm.descriptions.asking import Hints, describe_by_asking
from itm.descriptions.chat import ChatServer
from itm.errors import DataError, ModelError


def reply(text: object, usage: object = None) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()


GZIP = {"Content-Encoding": "gzip"}
REPLIES = {
    "a lone surrogate": ({}, reply("a \ud800 dog"), "half a character"),
    "an empty text": ({}, reply(" \n "), "an empty text"),
    "a number": ({}, reply(3), "an empty text"),
    "no text": ({}, reply(None), "an empty text"),
    "deep JSON": ({}, b"[" * 200_000, "not JSON"),
    "deep JSON inside": ({}, b'{"choices": ' + b'{"a":' * 100_000, "not JSON"),
    "cut JSON": ({}, b'{"choices": [{"mess', "not JSON"),
    "no UTF-8": ({}, b'{"choices": "\xff"}', "not JSON"),
    "a page": ({}, b"<html>too many requests", "not JSON"),
    "nothing": ({}, b"", "not JSON"),
    "a number alone": ({}, b"3", "JSON without choices"),
    "another shape": ({}, b'{"object": "error"}', "JSON without choices"),
    "choices by key": ({}, b'{"choices": {"a": 1}}', "JSON without choices"),
    "a long reply": ({}, reply("dog " * 2**21), "a reply of more than 4 MB"),
    "a small reply that grows": (GZIP, gzip.compress(bytes(2**26), 1), "a reply of more than 4 MB"),
    "a damaged gzip": (GZIP, gzip.compress(bytes(2**10))[:20] + b"\xff" * 99, "a damaged reply"),
    "an unknown packing": ({"Content-Encoding": "br"}, b"x", "a reply packed as br"),
}


@pytest.mark.parametrize("kind", REPLIES)
def test_a_bad_answer_is_paid_for_once(options, kind: str) -> None:
    headers, body, fault = REPLIES[kind]
    with ChatStub([(200, headers, body)]) as stub:
        for _ in range(2):
            with pytest.raises(ModelError, match=rf"1 of 1 answers are no descriptions \(i0: {fault}") as caught:
                ask(stub, options, [picture(0)])
            assert len(str(caught.value)) < 1000
        assert ask(stub, options, [picture(0)], missing="zero")[0] == []
        assert sum(stub.asked.values()) == 1
        (line,) = journal_lines()
        assert json.loads(line)["fault"].startswith(fault)
        assert len(line) < 70_000
        subprocess.run(re.search("`(sed .*)`", str(caught.value))[1], shell=True, check=True)  # the user's word
        assert journal_lines() == []
        assert [one.text for one in ask(stub, options, [picture(0)])[0]] == [f"image {picture(0).sha256[:8]}"]


def test_what_a_bad_answer_cost_is_counted(options) -> None:
    with ChatStub([(200, {}, reply("", {"prompt_tokens": 100, "completion_tokens": 10}))]) as stub:
        assert ask(stub, options, [picture(0)], missing="zero")[1].tokens_read == 100


def test_a_server_of_bad_answers_is_left(options) -> None:
    with ChatStub([(200, {}, b"{}")]) as stub:
        with pytest.raises(ModelError, match=r"7 images in a row had no answer \(last: JSON without"):
            ask(stub, options, [picture(row) for row in range(40)])
        assert sum(stub.asked.values()) == len(journal_lines()) <= 10


@pytest.mark.parametrize("tokens", [10**400, 10**4000, -5, True, 1.5, "9", None, [1]], ids=range(8))
def test_tokens_that_are_no_number_count_as_none(options, tokens: object) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 3}
    with ChatStub([(200, {}, reply("a dog", usage))]) as stub:
        found, used = ask(stub, options, [picture(0)])
    assert [one.text for one in found] == ["a dog"]
    assert (used.tokens_read, used.tokens_written) == (0, 3)


@pytest.mark.parametrize("after", ["²", "-1", "1e9", "nan", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_pause_that_is_no_number_is_no_pause(options, after: str) -> None:
    with ChatStub([(429, {"Retry-After": after}, b"")]) as stub:
        assert len(ask(stub, options, [picture(0)])[0]) == 1


def test_a_packed_answer_is_an_answer(options) -> None:
    with ChatStub([(200, GZIP, gzip.compress(reply("a dog")))]) as stub:
        assert [one.text for one in ask(stub, options, [picture(0)])[0]] == ["a dog"]


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"error": "x"}', b'{"error": {"message": "a\\u001b[31m\\ud800"}}'])
def test_what_a_refusal_says_is_only_shown(options, body: bytes) -> None:
    with ChatStub([(400, {}, body)]) as stub, pytest.raises(ModelError, match="HTTP 400") as caught:
        ask(stub, options, [picture(0)])
    assert str(caught.value).isprintable()


def test_a_photo_that_cannot_be_read_leaves_the_other_answers(options) -> None:
    def read(row: int) -> bytes:
        if row == 0:
            raise DataError("images.tar: ends inside image i0")
        return content(f"i{row}")

    with ChatStub() as stub:
        parameters = options(server=stub.address)
        pictures = [picture(row) for row in range(3)]
        with pytest.raises(ModelError, match=r"1 of 3 descriptions are missing \(i0: images\.tar: ends inside"):
            describe_by_asking(pictures, ChatServer(parameters, read), parameters, Hints(), Path("journal"))
    assert len(journal_lines()) == 2


@pytest.mark.parametrize("key", ["secret\n", "sécret"])
def test_a_key_that_is_none_is_not_shown(options, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_API_KEY", key)
    with pytest.raises(ModelError, match="MY_API_KEY holds characters that no key has") as caught:
        ChatServer(options(api_key_variable="MY_API_KEY"), lambda row: b"")
    assert key.strip() not in str(caught.value)
