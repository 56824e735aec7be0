"""The explorer as a web application: one page, its files, and answers as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from itm.data.decode import shrink
from itm.errors import DataError, ProjectError, printable
from itm.explore.guard import LARGEST_BODY, Guard
from itm.explore.matching import LONGEST_TEXT, Explorer
from itm.explore.ranking import FIRST, MOST_SPECIFIC, View, read_view

SIDE = 320
"""Shorter side in pixels of the photos that the page shows."""

AT_ONCE = 2
"""Photos decoded at a time; others wait. One of 63 megapixels takes 0.9 GB while it is."""

FILES = {"explorer.css": "text/css", "explorer.js": "text/javascript", "icon.svg": "image/svg+xml"}
_EXAMPLES = 4
_KEPT = 512

Endpoint = Callable[[Request], Awaitable[Response]]


def build_app(explorer: Explorer, token: str, largest: int = LARGEST_BODY) -> Starlette:
    """The application that answers for an explorer to those who know a token (`itm.explore.guard.Guard`)."""
    decoding = threading.Semaphore(AT_ONCE)

    @lru_cache(_KEPT)
    def shown(row: int) -> bytes:
        with decoding:
            return shrink(explorer.gallery.read(row), SIDE)[0]

    def matched(given: UploadFile, view: View) -> dict[str, Any]:
        with decoding:
            return explorer.of_photo(given.file.read(), given.filename or "photo", view)

    async def page(request: Request) -> Response:
        return HTMLResponse(render_page(explorer, largest))

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404, "no such page")
        content = resources.files("itm.explore").joinpath("pages", name).read_bytes()
        return Response(content, media_type=FILES[name])

    async def image(request: Request) -> Response:
        row = _row(request.path_params["row"], explorer)
        return Response(await run_in_threadpool(shown, row), media_type="image/jpeg")

    async def text(request: Request) -> Response:
        given = await _json(request)
        if not isinstance(given.get("text"), str):
            raise DataError('send {"text": "…"}', reason="no-text")
        return JSONResponse(await run_in_threadpool(explorer.of_text, given["text"], read_view(request.query_params)))

    async def photo(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=1) as form:
            given = form.get("photo")
            if not isinstance(given, UploadFile):
                raise DataError('send a file as "photo"', reason="no-photo")
            return JSONResponse(await run_in_threadpool(matched, given, read_view(request.query_params)))

    async def chosen(request: Request) -> Response:
        row = _row((await _json(request)).get("row"), explorer)
        return JSONResponse(await run_in_threadpool(explorer.of_image, row, read_view(request.query_params)))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/files/{name}", file),
            Route("/image/{row}", image),
            Route("/match/text", text, methods=["POST"]),
            Route("/match/photo", photo, methods=["POST"]),
            Route("/match/image", chosen, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, token=token, largest=largest)],
        exception_handlers={ProjectError: _fault, HTTPException: _refused, Exception: _broken},
    )


def render_page(explorer: Explorer, largest: int = LARGEST_BODY) -> str:
    """The page as HTML; all that comes from data is escaped."""
    environment = Environment(
        loader=PackageLoader("itm.explore", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    captions = explorer.texts.captions
    return environment.get_template("page.html.j2").render(
        models=[side.name for side in explorer.sides],
        source=printable(explorer.gallery.source),
        images=len(explorer.gallery.names),
        captions=len(captions),
        broken=max((len(side.broken) for side in explorer.sides), default=0),
        examples=sorted(captions[:: max(1, len(captions) // _EXAMPLES)][:_EXAMPLES], key=len),
        longest=LONGEST_TEXT,
        view=FIRST,
        most_specific=MOST_SPECIFIC,
        largest=largest,
    )


def _row(value: Any, explorer: Explorer) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(explorer.gallery.names)):
        raise HTTPException(404, f"no such image among {len(explorer.gallery.names)}")
    return int(text)


async def _json(request: Request) -> dict[str, Any]:
    """The JSON object of a request; other content types are refused, so that no plain form can send it."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send JSON")
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise DataError("the request is not valid JSON", reason="not-json") from None
    if not isinstance(given, dict):
        raise DataError("the request is not a JSON object", reason="not-json")
    return given


async def _fault(request: Request, error: Exception) -> Response:
    reason = getattr(error, "reason", "")
    gone = reason == "missing-file"  # every photo was there when the explorer started
    return JSONResponse({"error": printable(str(error)), "reason": reason}, 410 if gone else 422)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the explorer failed; its terminal says why"}, 500)
