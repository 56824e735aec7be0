"""The guard of the explorer: only its own page may ask, in the browser of whoever started it.

A page of another site can make a browser send requests to 127.0.0.1, and by letting its name point there (DNS
rebinding) it could even read the answers. So a request must name this machine as its host, and must not come from a
page of another origin. And other users of a shared machine reach 127.0.0.1 too: so a request must know a token, from
the address that the command printed or from the cookie that this address gave.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 32 * 2**20
OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
"""At any port: behind an ssh tunnel it is another one, and a name that points here from elsewhere is another name."""
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
    """An ASGI layer that refuses foreign hosts and origins, strangers and large bodies, and adds security headers.

    Args:
        app: what is guarded.
        token: what a request must know, as `token` of its query or as a cookie.
        largest: bytes of a request's body.
    """

    def __init__(self, app: ASGIApp, token: str, largest: int = LARGEST_BODY) -> None:
        self._app, self._token, self._largest = app, token, largest
        # browsers give the cookies of one port to all: each explorer needs a name of its own
        self._cookie = f"explorer-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            return
        received = 0
        asked = HTTPConnection(scope)
        entering = self._is_token(asked.query_params.get("token", ""))

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
                if entering:
                    headers.append("set-cookie", f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/")
            await send(message)

        refusal = self._refusal(asked, entering or self._is_token(asked.cookies.get(self._cookie, "")))
        if refusal is not None:
            await refusal(scope, receive, guarded)
        else:
            await self._app(scope, limited, guarded)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _refusal(self, asked: HTTPConnection, known: bool) -> JSONResponse | None:
        scope, headers = asked.scope, asked.headers
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0]):
            return _refused(421, "this is 127.0.0.1, and answers to no other name")
        if any(origin.lower() != f"http://{hosts[0]}" for origin in headers.getlist("origin")):
            return _refused(403, "requests from other pages are refused")
        from_elsewhere = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
        if from_elsewhere and not (scope["method"] == "GET" and scope["path"] == "/"):  # a link may lead to the page
            return _refused(403, "requests from other pages are refused")
        if not known:
            return _refused(403, "open the address that `itm explore` printed, with its ?token=…")
        length = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,15}", length) or int(length) > self._largest:
            return _refused(413, too_large(self._largest))
        return None


def too_large(largest: int) -> str:
    """What is said of a body above the limit."""
    return f"the file is too large: at most {largest // 2**20} MB are taken"


def _refused(status: int, message: str) -> JSONResponse:
    # the connection ends: what is left of a refused body is never read
    return JSONResponse({"error": message}, status, {"connection": "close"})
