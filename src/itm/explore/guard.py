"""The guard of the explorer: only this machine's own pages may ask, and nothing but them is loaded.

A page of another site can make a browser send requests to 127.0.0.1, and by letting its name point there (DNS
rebinding) it could even read the answers. So a request must name this very address and port as its host, and must not
come from a page of another origin.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 32 * 2**20
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI layer that refuses foreign hosts, foreign origins and bodies above a size, and adds security headers.

    Args:
        app: what is guarded.
        hosts: values of the Host header that are answered, exactly as browsers send them.
        largest: bytes of a request's body.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], largest: int = LARGEST_BODY) -> None:
        self._app, self._hosts, self._largest = app, hosts, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                raise HTTPException(413, too_large(self._largest))
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
        else:
            await self._app(scope, limited, guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return _refused(421, f"this is {min(self._hosts)}, and answers to no other name")
        own = {f"http://{host}" for host in self._hosts}
        if any(origin.lower() not in own for origin in headers.getlist("origin")):
            return _refused(403, "requests from other pages are refused")
        from_elsewhere = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        if from_elsewhere and not (scope["method"] == "GET" and scope["path"] == "/"):  # a link may lead to the page
            return _refused(403, "requests from other pages are refused")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > self._largest:
            return _refused(413, too_large(self._largest))
        return None


def own_hosts(port: int) -> frozenset[str]:
    """The Host headers that name this machine's loopback address at a port."""
    names = ("127.0.0.1", "localhost")
    return frozenset(f"{name}:{port}" for name in names) | (frozenset(names) if port == 80 else frozenset())


def too_large(largest: int) -> str:
    """What is said of a body above the limit."""
    return f"the file is too large: at most {largest // 2**20} MB are taken"


def _refused(status: int, message: str) -> JSONResponse:
    # the connection ends: what is left of a refused body is never read
    return JSONResponse({"error": message}, status, {"connection": "close"})
