"""An explorer of two small models, as an application and as a running server."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_model import KINDS, picture
from starlette.testclient import TestClient

from itm.explore.app import build_app
from itm.explore.matching import Explorer, read_known_texts
from itm.explore.start import SPLITS, listen, open_explorer
from itm.grading import Calibrator
from itm.grading.texts import idf_hash
from itm.model import Model
from itm.text.tables import read_idf

HOST = "127.0.0.1:8765"
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="session")
def explorer(small: SimpleNamespace) -> Explorer:
    return open_explorer(small.models, str(small.clean), small.clean, small.idf, None, 1, lambda line: None)


def write_grade(model: Model, similarities: np.ndarray, idf: Path) -> None:
    """A grade by which some of these similarities are those of matches, and others not."""
    middle, span = float(np.median(similarities)), float(np.ptp(similarities))
    ratio = np.linspace(1 - 60, 1 + 60, 33)[:, None].repeat(2, axis=1)  # it rises by 6 over the similarities
    knots, prior = np.array([0.5, 6.0]), np.array([-0.5, -2.5])
    ends = middle - 10 * span, middle + 10 * span
    Calibrator(*ends, knots, ratio, prior, model.hash, idf_hash(read_idf(idf))).save(model.folder / "grade.json")
    shutil.copy(idf, model.folder / "grade.idf.parquet")


@pytest.fixture(scope="session")
def graded(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The small models; the first has a grade by which some images match `graded.text`, and others not."""
    folder, text = tmp_path_factory.mktemp("graded") / "model", "a large red circle"
    shutil.copytree(small.models[0], folder)
    model = Model(folder)
    images = model.encode_images([picture(*kind) for kind in KINDS])
    write_grade(model, model.similarity(images, model.encode_texts([text])), small.idf)
    return SimpleNamespace(models=[folder, small.models[1]], clean=small.clean, idf=small.idf, text=text)


@pytest.fixture(scope="session")
def graded_explorer(graded: SimpleNamespace) -> Explorer:
    return open_explorer(graded.models, str(graded.clean), graded.clean, graded.idf, None, 1, lambda line: None)


@pytest.fixture(scope="session")
def many_explorer(graded: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    """The same models, of which the first has another grade: more than a page of captions match the sixth photo."""
    folder = tmp_path_factory.mktemp("many") / "model"
    shutil.copytree(graded.models[0], folder)
    model = Model(folder)
    texts = read_known_texts(graded.clean, SPLITS).captions
    photo = model.encode_images([picture(*KINDS[5])])
    write_grade(model, model.similarity(photo, model.encode_texts(list(texts))), graded.idf)
    return open_explorer([folder, graded.models[1]], str(graded.clean), graded.clean, graded.idf, None, 1, print)


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


@pytest.fixture(scope="session")
def many_address(many_explorer: Explorer) -> Iterator[str]:
    with served(many_explorer) as found:
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
