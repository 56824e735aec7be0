"""Who may look: whoever opened the printed address, and nobody else on the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from itm.explore.app import build_app
from itm.explore.matching import Explorer

Maker = Callable[[Explorer], TestClient]
TOKEN = "a-token-of-the-tests"
PATHS = ["/", "/image/0", "/files/explorer.js", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "²\udcff", "a" * 50_000])
def test_strangers_are_refused(explorer: Explorer, stranger: Maker, path: str, token: str | None) -> None:
    client = stranger(explorer)
    given = {} if token is None else {"token": token.encode("utf-8", "surrogateescape")}
    for ask in (client.get, client.post):
        answer = ask(path, params=given)
        assert answer.status_code == 403
        assert "open the address that `itm explore` printed" in answer.json()["error"]
        assert "set-cookie" not in answer.headers
        assert "content-security-policy" in answer.headers


def test_the_address_gives_a_cookie_that_only_the_browser_reads(explorer: Explorer, stranger: Maker) -> None:
    client = stranger(explorer)
    answer = client.get("/", params={"token": TOKEN})
    name, *rest = answer.headers["set-cookie"].split("; ")
    assert name.startswith("explorer-")
    assert set(rest) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    for path in PATHS:
        answer = client.get(path)
        assert answer.status_code == (404 if path == "/nothing" else 200)
        assert "set-cookie" not in answer.headers
        assert TOKEN not in answer.text


@pytest.mark.parametrize("cookie", ["", "x", TOKEN[:-1], '"', "²"])
def test_a_wrong_cookie_is_refused(explorer: Explorer, enter: Maker, cookie: str) -> None:
    client = enter(explorer)
    (name,) = client.cookies.keys()
    client.cookies.clear()
    answer = client.get("/", headers={"cookie": f"{name}={cookie}".encode()})
    assert answer.status_code == 403


def test_two_explorers_in_one_browser(explorer: Explorer, enter: Maker) -> None:
    """Browsers give the cookies of 127.0.0.1 to all its ports."""
    client = enter(explorer)
    other = TestClient(build_app(explorer, "another token"), base_url="http://127.0.0.1:9000", cookies=client.cookies)
    assert other.get("/").status_code == 403
    assert other.get("/", params={"token": "another token"}).status_code == 200
    both = TestClient(build_app(explorer, TOKEN), base_url="http://127.0.0.1:8765", cookies=other.cookies)
    assert both.get("/").status_code == 200


def test_the_token_is_no_way_around_the_other_checks(explorer: Explorer, stranger: Maker) -> None:
    client = stranger(explorer)
    given = {"token": TOKEN}
    assert client.get("/", params=given, headers={"host": "evil.example"}).status_code == 421
    assert client.get("/", params=given, headers={"origin": "http://127.0.0.1:9"}).status_code == 403
    assert client.get("/image/0", params=given, headers={"sec-fetch-site": "same-site"}).status_code == 403
    assert client.get("/", params=given, headers={"content-length": "9" * 5000}).status_code == 413
