"""An explorer of two small models, as an application and as a running server."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from small_model import KINDS, picture
from starlette.testclient import TestClient

from itm.explore.app import build_app
from itm.explore.matching import Explorer
from itm.explore.start import listen, open_explorer
from itm.grading import Calibrator
from itm.grading.texts import idf_hash
from itm.model import Model
from itm.text.tables import read_idf

HOST = "127.0.0.1:8765"
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="session")
def explorer(small: SimpleNamespace) -> Explorer:
    return open_explorer(small.models, str(small.clean), small.clean, small.idf, None, 1, lambda line: None)


@pytest.fixture(scope="session")
def graded(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The small models; the first has a grade by which some images match `graded.text`, and others not."""
    folder, text = tmp_path_factory.mktemp("graded") / "model", "a large red circle"
    shutil.copytree(small.models[0], folder)
    model = Model(folder)
    images = model.encode_images([picture(*kind) for kind in KINDS])
    similarities = model.similarity(images, model.encode_texts([text]))
    middle, span = float(np.median(similarities)), float(np.ptp(similarities))
    ratio = np.linspace(1 - 60, 1 + 60, 33)[:, None].repeat(2, axis=1)  # it rises by 6 over the similarities
    knots, prior = np.array([0.5, 6.0]), np.array([-0.5, -2.5])
    idf = idf_hash(read_idf(small.idf))
    Calibrator(middle - 10 * span, middle + 10 * span, knots, ratio, prior, model.hash, idf).save(folder / "grade.json")
    shutil.copy(small.idf, folder / "grade.idf.parquet")
    return SimpleNamespace(models=[folder, small.models[1]], clean=small.clean, idf=small.idf, text=text)


@pytest.fixture(scope="session")
def graded_explorer(graded: SimpleNamespace) -> Explorer:
    return open_explorer(graded.models, str(graded.clean), graded.clean, graded.idf, None, 1, lambda line: None)


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
    with served(explorer) as found:
        yield found


@pytest.fixture(scope="session")
def graded_address(graded_explorer: Explorer) -> Iterator[str]:
    with served(graded_explorer) as found:
        yield found


@contextmanager
def served(explorer: Explorer) -> Iterator[str]:
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
