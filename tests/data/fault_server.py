"""A file server on 127.0.0.1 that fails in every way that real ones do, request by request."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = hashlib.sha256(b"seed").digest() * 4096  # 128 KiB that no compressor shortens by much
ETAG = '"v1"'


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the next behaviour of the server's script; the last one repeats."""

    protocol_version = "HTTP/1.1"
    server: FaultServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append((self.path, wanted))
        script = self.server.script
        behave = script.pop(0) if len(script) > 1 else script[0]
        with contextlib.suppress(ConnectionError):
            behave(self)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def start(self) -> int:
        """First byte asked for; 0 where If-Range names another version."""
        if self.headers.get("If-Range") not in (None, self.server.etag):
            return 0
        wanted = self.headers.get("Range", "")
        return int(wanted[6:].split("-")[0]) if wanted.startswith("bytes=") else 0

    def answer(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is None:
            length = len(body)
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


class FaultServer(ThreadingHTTPServer):
    """See module docstring; `requests` holds (path, Range header) of every request."""

    daemon_threads = True

    def __init__(self, script: list[Behaviour], body: bytes = BODY, etag: str = ETAG) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.body, self.etag = list(script), body, etag
        self.requests: list[tuple[str, str]] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


Behaviour = Callable[[Handler], None]


@contextlib.contextmanager
def serve(script: list[Behaviour], body: bytes = BODY, etag: str = ETAG) -> Iterator[FaultServer]:
    server = FaultServer(script, body, etag)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def good(handler: Handler) -> None:
    """What a right server does, ranges included."""
    body, start = handler.server.body, handler.start
    if start >= len(body) > 0:
        handler.answer(416, Content_Range=f"bytes */{len(body)}")
    elif start:
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.answer(206, body[start:], ETag=handler.server.etag, Content_Range=span)
    else:
        handler.answer(200, body, ETag=handler.server.etag)


def cut(at: int) -> Behaviour:
    """Announce the whole and close the connection `at` bytes into what is sent."""

    def behave(handler: Handler) -> None:
        body, start = handler.server.body, handler.start
        rest = len(body) - start
        headers = {"ETag": handler.server.etag}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.answer(206 if start else 200, body[start : start + at], rest, **headers)

    return behave


def ignore_range(handler: Handler) -> None:
    handler.answer(200, handler.server.body, ETag=handler.server.etag)


def ignore_range_cut(at: int) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.answer(200, handler.server.body[:at], len(handler.server.body))

    return behave


def status(code: int, **headers: str) -> Behaviour:
    return lambda handler: handler.answer(code, b"sorry", **headers)


def page(content_type: str = "text/html; charset=utf-8") -> Behaviour:
    """A log-in page with status 200, as portals and drives give it."""
    return lambda handler: handler.answer(200, b"<!DOCTYPE html><html>please log in</html>", Content_Type=content_type)


def redirect_loop(handler: Handler) -> None:
    handler.answer(302, Location=handler.server.url + handler.path)


def redirect_to(url: Callable[[], str]) -> Behaviour:
    return lambda handler: handler.answer(302, Location=url())


def redirect_nowhere(handler: Handler) -> None:
    handler.answer(302, Location="ftp://127.0.0.1/file")


def stalled(after: int) -> Behaviour:
    """Send `after` bytes, then nothing for longer than anybody waits."""

    def behave(handler: Handler) -> None:
        body, start = handler.server.body, handler.start
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        handler.wfile.write(body[start : start + after])
        handler.wfile.flush()
        handler.server.closing.wait(60)
        handler.close_connection = True

    return behave


def dripping(handler: Handler) -> None:
    """Send a byte now and then: never silent, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(handler.server.body)))
    handler.end_headers()
    for _ in range(2000):
        if handler.server.closing.wait(0.03):
            break
        handler.wfile.write(b"x")
        handler.wfile.flush()
    handler.close_connection = True


def no_length(handler: Handler) -> None:
    """The whole body, its length untold."""
    handler.answer(200, handler.server.body, -1)


def no_length_cut(at: int) -> Behaviour:
    return lambda handler: handler.answer(200, handler.server.body[:at], -1)


def chunked(handler: Handler, stop_after: int | None = None) -> None:
    body = handler.server.body
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for count, start in enumerate(range(0, len(body), 16384)):
        if count == stop_after:
            handler.close_connection = True
            return
        block = body[start : start + 16384]
        handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def chunked_cut(handler: Handler) -> None:
    chunked(handler, stop_after=3)


def wrong_bytes(handler: Handler) -> None:
    """The right length, another content."""
    body = bytes(len(handler.server.body))[handler.start :]
    if handler.start:
        span = f"bytes {handler.start}-{len(handler.server.body) - 1}/{len(handler.server.body)}"
        handler.answer(206, body, Content_Range=span)
    else:
        handler.answer(200, body)


def short(handler: Handler) -> None:
    handler.answer(200, handler.server.body[:-1])


def long(handler: Handler) -> None:
    handler.answer(200, handler.server.body + b"more")


def other_range(handler: Handler) -> None:
    """A part that starts elsewhere than asked for."""
    body = handler.server.body
    handler.answer(206, body[10:], Content_Range=f"bytes 10-{len(body) - 1}/{len(body)}")


def range_without_header(handler: Handler) -> None:
    handler.answer(206, handler.server.body[handler.start :])


def not_satisfiable(handler: Handler) -> None:
    handler.answer(416, Content_Range="bytes */7")


def hang_up(handler: Handler) -> None:
    """Close without an answer."""
    handler.close_connection = True
    handler.connection.close()


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
    handler.close_connection = True


def broken_gzip_encoding(handler: Handler) -> None:
    """Claims a compression that it does not use, as many servers do for .gz files."""
    handler.answer(200, handler.server.body, Content_Encoding="gzip")


def empty(handler: Handler) -> None:
    handler.answer(200, b"")
