"""Descriptions by any server with the OpenAI chat interface (vLLM, llama.cpp, SGLang, hosted ones)."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from itm.config.describe import DescribeParameters
from itm.descriptions.questions import Answer, Failure, Question
from itm.errors import ModelError

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

_AGAIN = frozenset({408, 409, 425, 429})
"""Statuses of the 400s after which asking again may help; all 500s are such."""
_NOT_THIS_IMAGE = frozenset({400, 413, 415, 422})
"""Statuses that speak of this request; others (401, 403, 404 ...) would meet every image."""
_LONGEST_PAUSE = 60.0
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


class _Stop(Exception):
    """The server cannot be used at all."""


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

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer | Failure]]:
        """Each question with its answer, as they come.

        Raises:
            ModelError: the server cannot be used: wrong address, key or model, or it answers nobody. Answers that
                were on their way are given out before.
        """
        if not questions:
            return
        import httpx

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limit = self._parameters.concurrency
        self._stop.clear()
        fault = ""
        fruitless = 0
        left = iter(questions)
        with (
            httpx.Client(timeout=self._parameters.timeout, headers=headers) as client,
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
                        fruitless = fruitless + 1 if isinstance(answer, Failure) and not answer.final else 0
                        if fruitless >= 2 * limit + 1 and isinstance(answer, Failure):
                            fault = fault or f"{fruitless} images in a row had no answer (last: {answer.reason})"
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
        """Ask until there is an answer, at most `attempts` times."""
        import httpx

        body = self._body(question)
        read = written = 0
        reason = "not asked"
        for attempt in range(self._parameters.attempts):
            if attempt:
                log.warning("image %s: %s; attempt %d", question.picture.image_id, reason, attempt + 1)
            pause = self._pause * 2**attempt
            try:
                answer = client.post(f"{self._parameters.server.rstrip('/')}/chat/completions", content=body)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise _Stop(str(error)) from None
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if answer.status_code == 200:
                    text, tokens, reason = _parse(answer.content)
                    read, written = read + tokens[0], written + tokens[1]
                    if text:
                        return Answer(text, read, written)
                else:
                    reason = f"HTTP {answer.status_code} {_message(answer.content)}".rstrip()
                    if answer.status_code in _NOT_THIS_IMAGE:
                        return Failure(reason, final=True)
                    if answer.status_code < 500 and answer.status_code not in _AGAIN:
                        raise _Stop(reason)
                    after = answer.headers.get("retry-after", "")
                    pause = max(pause, float(after)) if after.isdigit() else pause
            if attempt + 1 < self._parameters.attempts and self._stop.wait(min(pause, _LONGEST_PAUSE)):
                return Failure("stopped")
        return Failure(reason)

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


def _parse(content: bytes) -> tuple[str, tuple[int, int], str]:
    """Text, tokens read and written, and what is wrong where there is no text.

    >>> _parse(b'{"choices": [{"message": {"content": " A dog. "}}], "usage": {"prompt_tokens": 9}}')
    ('A dog.', (9, 0), '')
    >>> _parse(b'{"choices": [{"message": {"content": ""}}]}')
    ('', (0, 0), 'an empty text')
    >>> _parse(b'{"choices"')[2]
    'not JSON'
    """
    try:
        found = json.loads(content)
    except ValueError:
        return "", (0, 0), "not JSON"
    usage = found.get("usage") if isinstance(found, dict) else None
    tokens = (_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))
    try:
        text = found["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return "", tokens, "JSON without choices[0].message.content"
    if not isinstance(text, str) or not text.strip():
        return "", tokens, "an empty text"
    return " ".join(text.split()), tokens, ""


def _count(usage: Any, key: str) -> int:
    value = usage.get(key) if isinstance(usage, dict) else 0
    return value if isinstance(value, int) else 0


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return ""
