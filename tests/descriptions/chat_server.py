"""A chat server on 127.0.0.1 that fails in every way that real ones do, and counts what it was asked."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """The n-th request for an image gets the n-th fault of the script, then an answer that names the image.

    A fault is a status, "timeout", "cut", or a whole reply: status, headers, body.
    """

    server: ChatStub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        stub = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = body["messages"][0]["content"]
        image = base64.b64decode(parts[1]["image_url"]["url"].split(",", 1)[1])
        name = hashlib.sha256(image).hexdigest()[:8]
        with stub.lock:
            nth = stub.asked[name]
            stub.asked[name] += 1
            stub.prompts.append(parts[0]["text"])
            stub.keys.add(self.headers.get("Authorization", ""))
            stub.running += 1
            stub.most = max(stub.most, stub.running)
        try:
            fault = stub.script[nth] if nth < len(stub.script) else "answer"
            stub.before()
            self._behave(fault, name)
        finally:
            with stub.lock:
                stub.running -= 1

    def _behave(self, fault: str | tuple[int, dict[str, str], bytes], name: str) -> None:
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        if isinstance(fault, tuple):
            self._send(*fault)
        elif fault == "timeout":
            self.server.closing.wait(60)  # longer than anybody waits
            self.close_connection = True
        elif fault == "cut":
            self.close_connection = True
            self.connection.close()
        elif fault.isdigit():
            again = {"Retry-After": "0"} if fault == "429" else {}
            self._send(int(fault), again, json.dumps({"error": {"message": f"no {fault}"}}).encode())
        else:
            text = json.dumps({"choices": [{"message": {"content": self.server.say(name)}}], "usage": usage})
            self._send(200, {}, text.encode())
            with self.server.lock:
                self.server.answered[name] += 1

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class ChatStub(ThreadingHTTPServer):
    """See module docstring. asked, answered: requests and answers by the first 8 digits of the image's hash.

    `before` is called before each answer, and may hold it back. `say` gives the answer for these digits.
    """

    daemon_threads = True

    def __init__(
        self,
        script: list = (),
        before: Callable[[], object] = lambda: None,
        say: Callable[[str], str] = "image {}".format,
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.before, self.say = list(script), before, say
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.prompts: list[str] = []
        self.keys: set[str] = set()
        self.running = self.most = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
