"""`itm explore` before it serves: what is missing, taken or too much is said."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from itm.errors import ConfigError, ModelError
from itm.explore.start import listen, open_explorer

ROOT = Path(__file__).parents[2]


def test_a_taken_port_is_said() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(ConfigError, match="--port"):
            listen("127.0.0.1", taken.getsockname()[1])


def test_three_models_are_too_many(small: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="3 models; the page shows one or two"):
        open_explorer([*small.models, small.models[0]], str(small.clean), small.clean, small.idf, None, 1, print)


def test_a_pairwise_model_is_refused(small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from itm.methods.method import Method

    monkeypatch.setattr(Method, "kind", "pairwise")
    with pytest.raises(ModelError, match="scores pairs"):
        open_explorer(small.models[:1], str(small.clean), small.clean, small.idf, None, 1, print)


@pytest.mark.slow
def test_the_command_serves_this_machine_only_and_stops(small: SimpleNamespace) -> None:
    words = ["explore", *map(str, small.models), "--images", str(small.clean), "--idf", str(small.idf), "--port", "0"]
    command = [sys.executable, "-m", "itm.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as running:
        try:
            assert running.stdout is not None
            url = running.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            port = urlsplit(url).port
            for _ in range(100):
                try:
                    page = urllib.request.urlopen(url, timeout=5).read().decode()
                    break
                except urllib.error.URLError:
                    time.sleep(0.1)
            assert "clip, seed 0 beside clip, seed 1" in page
            foreign = urllib.request.Request(url, headers={"Host": f"evil.example:{port}"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(foreign, timeout=5)
            assert refused.value.code == 421
            refused.value.close()
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url.split("?")[0], timeout=5)
            assert refused.value.code == 403
            refused.value.close()
            # another address of this machine's loopback network is another address: nothing listens there
            with socket.socket() as other, pytest.raises(ConnectionRefusedError):
                other.connect(("127.0.0.2", port))
        finally:
            running.terminate()
            running.wait(20)
