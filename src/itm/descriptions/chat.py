"""Descriptions by any server with the OpenAI chat interface (vLLM, llama.cpp, SGLang, hosted ones)."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from itm.config.describe import DescribeParameters, runs_here
from itm.data.http import whole_number
from itm.descriptions.questions import Answer, Failure, Question, said
from itm.errors import DataError, ModelError, printable

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

_AGAIN = frozenset({408, 409, 425, 429})
"""Statuses of the 400s after which asking again may help; all 500s are such."""
_NOT_THIS_IMAGE = frozenset({400, 413, 415, 422})
"""Statuses that speak of this request; others (401, 403, 404 ...) would meet every image."""
_LONGEST_PAUSE = 60.0
_LARGEST_REPLY = 4 * 2**20
"""Bytes of a reply, unpacked: thousands of times a description."""
_LONGEST_RAW = 10_000
"""Characters of a useless reply that the journal keeps."""
_MANY = 10**12
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


class _Stop(Exception):
    """The server cannot be used at all."""


class _Unreadable(Exception):
    """A reply came, and its body is none that can be read; holds what was read of it."""

    def __init__(self, reason: str, content: bytes) -> None:
        super().__init__(reason)
        self.content = content


class ChatServer:
    """Asks a server about pictures, `concurrency` at a time; see `itm.descriptions.questions.Asked`.

    Args:
        parameters: of the section `describe`.
        read: the encoded bytes of the image in a row of images.parquet.
        pause: seconds of the first pause after a failed attempt; each next one is twice as long.
    """

    def __init__(self, parameters: DescribeParameters, read: Callable[[int], bytes], pause: float = 1.0) -> None:
        self.name = f"openai:{parameters.model}"
        self._parameters, self._read, self._pause = parameters, read, pause
        self._stop = threading.Event()
        self._key = ""
        if parameters.api_key_variable:
            self._key = os.environ.get(parameters.api_key_variable, "")
            if not self._key:
                raise ModelError(
                    f"describe.api_key_variable: the environment variable {parameters.api_key_variable} is not set",
                    reason="no-key",
                )
            if not (self._key.isascii() and self._key.isprintable()):
                raise ModelError(
                    f"describe.api_key_variable: {parameters.api_key_variable} holds characters that no key has "
                    "(a line break?); set it again",
                    reason="no-key",
                )

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer | Failure]]:
        """Each question with its answer, as they come.

        Raises:
            ModelError: the server cannot be used: wrong address, key or model, or it answers nobody. Answers that
                were on their way are given out before.
        """
        if not questions:
            return
        import httpx

        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        limit = self._parameters.concurrency
        # a proxy of the environment (HTTP_PROXY) would be sent the key in clear, and could not reach this machine
        by_environment = not runs_here(self._parameters.server)
        self._stop.clear()
        fault = ""
        fruitless = 0
        left = iter(questions)
        with (
            httpx.Client(timeout=self._parameters.timeout, headers=headers, trust_env=by_environment) as client,
            ThreadPoolExecutor(limit) as pool,
        ):
            running: dict[Future[Answer | Failure], Question] = {}
            try:
                while True:
                    while not fault and len(running) < limit and (question := next(left, None)) is not None:
                        running[pool.submit(self._answer, client, question)] = question
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        question = running.pop(future)
                        try:
                            answer = future.result()
                        except _Stop as error:
                            fault = fault or str(error)
                            self._stop.set()
                            continue
                        useless = _useless(answer)
                        fruitless = fruitless + 1 if useless else 0
                        if fruitless >= 2 * limit + 1:
                            fault = fault or f"{fruitless} images in a row had no answer (last: {useless})"
                            self._stop.set()
                        yield question, answer
            finally:
                self._stop.set()
        if fault:
            raise ModelError(
                f"{self._parameters.server}: {fault}; answers so far are kept: run again when the server works",
                reason="server",
            )

    def _answer(self, client: httpx.Client, question: Question) -> Answer | Failure:
        """Ask until there is an answer, at most `attempts` times; one that is no use is one too: it may be paid for."""
        import httpx

        try:
            body = self._body(question)
        except DataError as error:  # others are on their way: their answers come first
            return Failure(str(error))
        reason = "not asked"
        for attempt in range(self._parameters.attempts):
            if attempt:
                log.warning("image %s: %s; attempt %d", question.picture.image_id, reason, attempt + 1)
            pause = self._pause * 2**attempt
            try:
                status, after, content = self._post(client, body)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise _Stop(str(error)) from None
            except httpx.HTTPError as error:
                reason = printable(f"{type(error).__name__}: {error}".rstrip(": "))[:200]
            except _Unreadable as error:
                return Answer(_raw(error.content), fault=str(error))
            else:
                if status == 200:
                    return _parse(content)
                reason = f"HTTP {status} {_message(content)}".rstrip()
                if status in _NOT_THIS_IMAGE:
                    return Failure(reason, final=True)
                if status < 500 and status not in _AGAIN:
                    raise _Stop(reason)
                pause = max(pause, after)
            if attempt + 1 < self._parameters.attempts and self._stop.wait(min(pause, _LONGEST_PAUSE)):
                return Failure("stopped")
        return Failure(reason)

    def _post(self, client: httpx.Client, body: bytes) -> tuple[int, float, bytes]:
        """Status, seconds to wait before the next attempt, and the body, which must come within `timeout` too.

        Raises:
            _Unreadable: a body of status 200 is larger than `_LARGEST_REPLY`, or packed in an unknown way.
        """
        import httpx

        address = f"{self._parameters.server.rstrip('/')}/chat/completions"
        with client.stream("POST", address, content=body) as answer:
            end = time.monotonic() + self._parameters.timeout
            after = float(whole_number(answer.headers.get("retry-after", "")) or 0)  # a date: not waited for
            packed = answer.headers.get("content-encoding", "identity").strip().lower()
            unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed in ("gzip", "deflate") else None
            content, fault = b"", ""
            try:
                for block in answer.iter_raw():
                    room = _LARGEST_REPLY + 1 - len(content)
                    content += unpack.decompress(block, room) if unpack else block[:room]
                    if len(content) > _LARGEST_REPLY:
                        fault = f"a reply of more than {_LARGEST_REPLY // 2**20} MB"
                        break
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout(f"the reply took longer than {self._parameters.timeout:g} s")
            except zlib.error as error:
                fault = f"a damaged reply ({error})"
            if packed not in ("identity", "gzip", "deflate", ""):
                fault = f"a reply packed as {printable(packed)[:20]}"
        if fault and answer.status_code == 200:
            raise _Unreadable(fault, content)
        return answer.status_code, after, content

    def _body(self, question: Question) -> bytes:
        content = self._read(question.picture.row)
        kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), "image/jpeg")
        url = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        message = [{"type": "text", "text": question.prompt}, {"type": "image_url", "image_url": {"url": url}}]
        request = {
            "model": self._parameters.model,
            "messages": [{"role": "user", "content": message}],
            "max_tokens": self._parameters.maximum_tokens,
            "temperature": self._parameters.temperature,
            "seed": question.seed,
        }
        return json.dumps(request).encode()


def _parse(content: bytes) -> Answer:
    """The answer in the body of a reply; where there is none, what came, and what is wrong with it.

    >>> _parse(b'{"choices": [{"message": {"content": " A dog. "}}], "usage": {"prompt_tokens": 9}}')
    Answer(text='A dog.', tokens_read=9, tokens_written=0, fault='')
    >>> _parse(b'{"choices"')
    Answer(text='{"choices"', tokens_read=0, tokens_written=0, fault='not JSON')
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return Answer(_raw(content), fault="not JSON")
    usage = found.get("usage") if isinstance(found, dict) else None
    tokens = (_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))
    try:
        text = found["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return Answer(_raw(content), *tokens, fault="JSON without choices[0].message.content")
    if not isinstance(text, str):
        return Answer(_raw(content), *tokens, fault="an empty text")
    return said(text, *tokens)


def _raw(content: bytes) -> str:
    return content.decode("utf-8", "replace")[:_LONGEST_RAW]


def _useless(answer: Answer | Failure) -> str:
    """Why there is no description, where the fault may be the server's; '' otherwise."""
    if isinstance(answer, Answer):
        return answer.fault
    return "" if answer.final else answer.reason


def _count(usage: Any, key: str) -> int:
    value = usage.get(key) if isinstance(usage, dict) else 0
    return value if type(value) is int and 0 <= value < _MANY else 0


def _message(content: bytes) -> str:
    try:
        return printable(str(json.loads(content)["error"]["message"]))[:80]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
