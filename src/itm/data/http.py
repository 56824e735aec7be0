"""One address to one file: streamed, resumed by HTTP Range, with limits on time, redirects and slowness.

httpx is the client: it streams, limits redirects, has one timeout for each phase, and leaves ranges to us (pooch
and fsspec, the other well-kept choices, start a cut download anew or read ranges without verifying them).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

_GONE_FOR_GOOD = frozenset(range(400, 500)) - {408, 416, 425, 429}


@dataclass(frozen=True)
class Policy:
    """How patient a download is. Times in seconds, speed in bytes a second."""

    attempts: int = 5
    backoff: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    slowest: float = 1024.0
    slow_window: float = 60.0
    redirects: int = 10


class Refused(Exception):
    """This address will not give the file; asking again is useless."""


class Cut(Exception):
    """The connection failed or stopped; what arrived is kept, and asking again may help."""

    wait: float = 0.0


Report = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes in all (None where unknown)."""


def receive(
    url: str, part: Path, wanted: int | None, most: int, any_copy: bool, policy: Policy, report: Report
) -> bool:
    """Stream `url` into `part`, going on from what `part` already holds, until the body is whole.

    `part` and `part`.json (address and validator of the copy it came from) stay behind after a failure.

    Args:
        wanted: the file's size where it is known; a body that grows beyond it is refused at once.
        most: bytes of a body whose size is not known, at most.
        any_copy: the file's checksum is known, so that a part from another address may be continued.

    Returns:
        Whether the file was put together from more than one answer.

    Raises:
        Refused: an answer that will not change: 4xx, a redirect loop, one from https to http or from a public address
            to one of this machine or its network, an HTML page, a wrong or an unbounded length.
        Cut: all attempts ended early.
    """
    import httpx

    timeout = httpx.Timeout(policy.read_timeout, connect=policy.connect_timeout)
    headers = {"Accept-Encoding": "identity", "User-Agent": "graded-itm"}
    client = httpx.Client(
        follow_redirects=True,
        max_redirects=policy.redirects,
        timeout=timeout,
        headers=headers,
        event_hooks={"request": [_guard(url)]},
    )
    last = Cut("no attempt was made")
    with client:
        for attempt in range(policy.attempts):
            if attempt:
                wait = min(policy.longest_wait, max(last.wait, policy.backoff * 2 ** (attempt - 1)))
                log.warning("%s: %s; attempt %d of %d in %.1f s", url, last, attempt + 1, policy.attempts, wait)
                time.sleep(wait)
            try:
                return _attempt(client, url, part, wanted, most, any_copy, policy, report)
            except Cut as error:
                last = error
            except httpx.TooManyRedirects:
                raise Refused(f"more than {policy.redirects} redirects") from None
            except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.DecodingError) as error:
                raise Refused(str(error)) from None
            except httpx.HTTPError as error:
                last = Cut(f"{type(error).__name__}: {error}".rstrip(": "))
    raise last


def _guard(url: str) -> Callable[[httpx.Request], None]:
    """What looks at every request, also of redirects, before it is sent: none may go where `url` itself does not."""
    public = url_is_public(url)

    def check(request: httpx.Request) -> None:
        target = str(request.url)
        if url.startswith("https://") and request.url.scheme != "https":
            raise Refused(f"is sent on to {target[:200]}, where anybody on the way may change the file")
        if public and target != url and not url_is_public(target):
            raise Refused(f"is sent on to {target[:200]}, an address of this machine or its network")

    return check


def url_is_public(url: str) -> bool:
    """Whether all addresses of a host are of the internet; a name that is not known here may be one of a proxy's.

    >>> url_is_public("https://1.1.1.1/x"), url_is_public("https://169.254.1.1/x"), url_is_public("http://[::1]:8/")
    (True, False, False)
    """
    import httpx

    host = httpx.URL(url).host
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)


def _attempt(
    client: httpx.Client,
    url: str,
    part: Path,
    wanted: int | None,
    most: int,
    any_copy: bool,
    policy: Policy,
    report: Report,
) -> bool:
    have = part.stat().st_size if part.is_file() else 0
    note = _read_note(part)
    same = note.get("url") == url
    if not (same or any_copy) or (wanted is not None and have > wanted):
        have = 0
    if wanted is not None and 0 < have == wanted:
        return True  # whole, but the last run ended before it could check
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if same and note.get("validator"):
            headers["If-Range"] = note["validator"]
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 416 and have and answer.headers.get("content-range", "").strip() == f"bytes */{have}":
            return True  # nothing is left to send: the part is the whole
        try:
            start, total = _judge(answer, have)
        except _OtherRange as error:
            discard(part)
            raise Cut(str(error)) from None
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise Refused("gives an HTML page, not the file")
        if wanted is not None and total is not None and total != wanted:
            raise Refused(f"announces {total} bytes instead of {wanted}")
        if wanted is None and total is not None and total > most:
            raise Refused(f"announces {total} bytes, more than the {most} of a file whose size is not known")
        part.with_name(part.name + ".json").write_text(
            json.dumps({"url": url, "validator": _validator(answer)}), encoding="utf-8"
        )
        size = _write(answer, part, start, total, wanted, most, policy, report)
        expected = total if total is not None else wanted
        if expected is not None and size < expected:
            raise Cut(f"ended after {size} of {expected} bytes")
    return start > 0


def _write(
    answer: httpx.Response,
    part: Path,
    start: int,
    total: int | None,
    wanted: int | None,
    most: int,
    policy: Policy,
    report: Report,
) -> int:
    """Append the body to `part` from byte `start`; returns the size reached."""
    limit, why = (most, "of a file whose size is not known") if wanted is None else (wanted, "that are expected")
    size = window_size = start
    window_start = time.monotonic()
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        for block in answer.iter_raw():  # as it comes: a block size would hold back what a cut then loses
            size += len(block)
            if size > limit:
                raise Refused(f"gives more than the {limit} bytes {why}")
            file.write(block)
            report(size, total if total is not None else wanted)
            elapsed = time.monotonic() - window_start
            if elapsed >= policy.slow_window:
                if (size - window_size) / elapsed < policy.slowest:
                    raise Cut(f"slower than {policy.slowest:.0f} bytes a second")
                window_start, window_size = time.monotonic(), size
    return size


class _OtherRange(Exception):
    """The server's idea of the file does not fit the part that is here."""


def _judge(answer: httpx.Response, have: int) -> tuple[int, int | None]:
    """Where the body starts, and the whole file's size if the server says."""
    status = answer.status_code
    if status == 206:
        match = re.fullmatch(
            r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", answer.headers.get("content-range", "").strip()
        )
        if not have or match is None or int(match[1]) != have:
            raise _OtherRange("answers with another range than was asked for")
        return have, None if match[3] == "*" else int(match[3])
    if status == 200:
        return 0, whole_number(answer.headers.get("content-length", ""))
    if status == 416:
        raise _OtherRange("does not have the rest of the file (HTTP 416)")
    message = f"HTTP {status} {answer.reason_phrase}".rstrip()
    if status in _GONE_FOR_GOOD or status < 400:
        raise Refused(message)
    cut = Cut(message)
    cut.wait = float(whole_number(answer.headers.get("retry-after", "")) or 0)
    raise cut


def whole_number(text: str) -> int | None:
    """The number that a header gives, if it is one.

    >>> whole_number("12"), whole_number("²"), whole_number("9" * 5000), whole_number("Mon, 5 Jan")
    (12, None, None, None)
    """
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _validator(answer: httpx.Response) -> str:
    etag: str = answer.headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return str(answer.headers.get("last-modified", ""))


def _read_note(part: Path) -> dict[str, str]:
    try:
        note = json.loads(part.with_name(part.name + ".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def discard(part: Path) -> None:
    """Remove an unfinished download and its note."""
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)
