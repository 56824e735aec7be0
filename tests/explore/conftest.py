"""An explorer of two small models, as an application and as a running server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from itm.explore.app import build_app
from itm.explore.matching import Explorer
from itm.explore.start import listen, open_explorer

HOST = "127.0.0.1:8765"
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="session")
def explorer(small: SimpleNamespace) -> Explorer:
    return open_explorer(small.models, str(small.clean), small.clean, small.idf, None, 1, lambda line: None)


@pytest.fixture
def stranger() -> Callable[[Explorer], TestClient]:
    """A maker of clients that do not know the token."""
    return lambda explorer: TestClient(
        build_app(explorer, TOKEN), base_url=f"http://{HOST}", raise_server_exceptions=False
    )


@pytest.fixture
def enter(stranger: Callable[[Explorer], TestClient]) -> Callable[[Explorer], TestClient]:
    """A maker of clients that have opened the printed address."""

    def entered(explorer: Explorer) -> TestClient:
        client = stranger(explorer)
        assert client.get("/", params={"token": TOKEN}).status_code == 200
        return client

    return entered


@pytest.fixture
def client(explorer: Explorer, enter: Callable[[Explorer], TestClient]) -> TestClient:
    return enter(explorer)


@pytest.fixture(scope="session")
def address(explorer: Explorer) -> Iterator[str]:
    """The explorer served as `itm explore` serves it."""
    import uvicorn

    with listen("127.0.0.1", 0) as socket:
        port = socket.getsockname()[1]
        config = uvicorn.Config(build_app(explorer, TOKEN), log_level="error", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/?token={TOKEN}"
        server.should_exit = True
        thread.join(20)
