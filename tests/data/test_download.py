"""Downloads end in the right file or in a clear error, whatever the server does; nothing wrong takes the name."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from itm.data.catalogue import Copy, SourceFile
from itm.data.download import Fetched, fetch, verify
from itm.data.files import mirror_folder, sha256_of
from itm.data.http import Policy
from itm.errors import DataError

_spec = importlib.util.spec_from_file_location("fault_server", Path(__file__).with_name("fault_server.py"))
assert _spec is not None
assert _spec.loader is not None
faults = importlib.util.module_from_spec(_spec)
sys.modules["fault_server"] = faults
_spec.loader.exec_module(faults)

BODY, serve = faults.BODY, faults.serve
SIZE, SHA = len(BODY), hashlib.sha256(BODY).hexdigest()
# no time stamp: the tests' names hold the bytes
CUT_GZIP = gzip.compress(b"x" * 99, mtime=0)[:-4]
LONG_GZIP = gzip.compress(random.Random(0).randbytes(1000), mtime=0)

FAST = Policy(attempts=3, backoff=0.01, longest_wait=0.05, slowest=1e4)
IMPATIENT = replace(FAST, read_timeout=0.4, slow_window=0.3)  # for servers that never go on; others may be slow


@pytest.fixture
def get(tmp_path, monkeypatch) -> Callable[..., Fetched]:
    monkeypatch.delenv("ITM_MIRROR", raising=False)

    def run(
        *urls: str,
        known: bool = True,
        name: str = "file.bin",
        entry: SourceFile | None = None,
        policy: Policy = FAST,
        **options,
    ) -> Fetched:
        contents = {"bytes": SIZE, "sha256": SHA} if known else {}
        entry = entry or SourceFile(urls=[f"{url}/{name}" for url in urls], **contents)
        return fetch(
            "set", name, entry, tmp_path / "raw/set" / name, policy=policy, record_path=tmp_path / "r.json", **options
        )

    return run


def final(tmp_path: Path, name: str = "file.bin") -> Path:
    return tmp_path / "raw/set" / name


def is_clean(tmp_path: Path) -> bool:
    """Nothing but the file in the data set's folder, and no part left after success."""
    waiting = tmp_path / "raw/.incomplete/set"
    return [p.name for p in final(tmp_path).parent.iterdir()] == ["file.bin"] and [
        p.name for p in waiting.iterdir() if p.suffix != ".lock"
    ] == []


MENDED = {
    "good": [faults.good],
    "cut at the first byte": [faults.cut(0), faults.good],
    "cut after one byte": [faults.cut(1), faults.good],
    "cut in the middle": [faults.cut(SIZE // 2), faults.good],
    "cut before the last byte": [faults.cut(SIZE - 1), faults.good],
    "cut twice": [faults.cut(1000), faults.cut(70000), faults.good],
    "cut, then the range is ignored": [faults.cut(5000), faults.ignore_range],
    "cut, ignored range cut too, then good": [faults.cut(5000), faults.ignore_range_cut(100), faults.good],
    "500 once": [faults.status(500), faults.good],
    "502 twice": [faults.status(502), faults.status(502), faults.good],
    "503 with Retry-After": [faults.status(503, Retry_After="0"), faults.good],
    "503 with a number that is none": [faults.status(503, Retry_After="²"), faults.good],
    "429 with a long Retry-After": [faults.status(429, Retry_After="3600"), faults.good],
    "408": [faults.status(408), faults.good],
    "hangs up": [faults.hang_up, faults.good],
    "stalls": [faults.stalled(3000), faults.good],
    "stalls before the first byte": [faults.stalled(0), faults.good],
    "drips": [faults.dripping, faults.good],
    "no length": [faults.no_length],
    "no length, cut": [faults.no_length_cut(4000), faults.good],
    "chunked": [faults.chunked],
    "chunked, cut": [faults.chunked_cut, faults.good],
    "another range than asked": [faults.cut(5000), faults.other_range, faults.good],
    "206 without Content-Range": [faults.cut(5000), faults.range_without_header, faults.good],
    "416 to a good part": [faults.cut(5000), faults.not_satisfiable, faults.good],
    "no HTTP at all": [faults.garbage, faults.good],
    "claims gzip": [faults.broken_gzip_encoding],
    "wrong bytes after a cut": [faults.cut(5000), faults.wrong_bytes, faults.good],
}


def patience(case: str) -> Policy:
    return IMPATIENT if case.startswith(("stalls", "drips")) else FAST


@pytest.mark.slow
@pytest.mark.parametrize(("case", "script"), MENDED.items(), ids=MENDED.keys())
def test_ends_in_the_right_file(case, script, get, tmp_path):
    with serve(script) as server:
        found = get(server.url, policy=patience(case))
    assert final(tmp_path).read_bytes() == BODY
    assert (found.bytes, found.sha256, found.first_seen) == (SIZE, SHA, False)
    assert is_clean(tmp_path)


REFUSED = {
    "404": ([faults.status(404)], "HTTP 404", 1),
    "403": ([faults.status(403)], "HTTP 403", 1),
    "401": ([faults.status(401)], "HTTP 401", 1),
    "410": ([faults.status(410)], "HTTP 410", 1),
    "500 for ever": ([faults.status(500)], "HTTP 500", 3),
    "503 for ever": ([faults.status(503)], "HTTP 503", 3),
    "304 unasked": ([faults.status(304)], "HTTP 304", 1),
    "HTML with status 200": ([faults.page()], "an HTML page", 1),
    "HTML in disguise": ([faults.page("application/octet-stream")], "bytes instead of", 1),
    "redirect loop": ([faults.redirect_loop], "more than 10 redirects", 11),
    "redirect to another protocol": ([faults.redirect_nowhere], "protocol", 1),
    "wrong bytes": ([faults.wrong_bytes], "sha256", 1),
    "one byte short": ([faults.short], f"announces {SIZE - 1} bytes instead of {SIZE}", 1),
    "too long": ([faults.long], f"announces {SIZE + 4} bytes instead of {SIZE}", 1),
    "too long, length untold": (
        [lambda handler: handler.answer(200, BODY + b"more", -1)],
        f"more than the {SIZE} bytes",
        1,
    ),
    "empty": ([faults.empty], f"announces 0 bytes instead of {SIZE}", 1),
    "hangs up for ever": ([faults.hang_up], "RemoteProtocolError", 3),
    "stalls for ever": ([faults.stalled(0)], "ReadTimeout", 3),
    "drips for ever": ([faults.dripping], "slower than 10000 bytes a second", 3),
    "cut at the same place for ever": ([faults.ignore_range_cut(100)], "", 3),
    "no HTTP at all": ([faults.garbage], "RemoteProtocolError", 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_ends_in_a_clear_error(case, get, tmp_path):
    script, message, requests = REFUSED[case]
    with serve(script) as server, pytest.raises(DataError) as caught:
        get(server.url, policy=patience(case))
    assert not final(tmp_path).exists()
    assert caught.value.reason == "download"
    assert f"{server.url}/file.bin: " in str(caught.value)
    assert message in str(caught.value)
    assert len(server.requests) == requests


@pytest.mark.slow
def test_cut_at_any_byte_resumes_where_it_stopped(get, tmp_path):
    """Every length of a part, in one file small enough to try them all."""
    body = bytes(range(20))
    entry = functools.partial(SourceFile, bytes=20, sha256=hashlib.sha256(body).hexdigest())
    for at in range(21):
        with serve([faults.cut(at), faults.good], body) as server:
            get(entry=entry(urls=[server.url + "/file.bin"]))
            asked = [wanted for _, wanted in server.requests]
        assert final(tmp_path).read_bytes() == body
        assert asked == ([""] if at == 20 else ["", f"bytes={at}-" if at else ""])
        final(tmp_path).unlink()


def test_changed_file_is_fetched_whole(get, tmp_path):
    """If-Range: the server's file is another version than the part."""
    with serve([faults.cut(5000)], bytes(SIZE), etag='"old"') as server, pytest.raises(DataError):
        get(server.url)
    port = server.server_address[1]
    part = tmp_path / "raw/.incomplete/set/file.bin.part"
    assert part.stat().st_size == 15000
    with serve([faults.good]) as server:
        note = part.with_name(part.name + ".json")
        note.write_text(note.read_text().replace(str(port), str(server.server_address[1])))
        get(server.url)
    assert server.requests == [("/file.bin", "bytes=15000-")]
    assert final(tmp_path).read_bytes() == BODY


def test_part_of_another_address_is_continued_only_with_a_checksum(get, tmp_path):
    with serve([faults.cut(5000), faults.status(404)]) as first, serve([faults.good]) as second:
        get(first.url, second.url)
    assert second.requests == [("/file.bin", "bytes=5000-")]
    final(tmp_path).unlink()
    with serve([faults.cut(5000), faults.status(404)]) as first, serve([faults.good]) as second:
        get(first.url, second.url, known=False)
    assert second.requests == [("/file.bin", "")]


def test_next_address_is_tried(get, tmp_path):
    with serve([faults.page()]) as first, serve([faults.status(404)]) as second, serve([faults.good]) as third:
        found = get(first.url, second.url, third.url)
    assert found.origin == third.url + "/file.bin"
    assert final(tmp_path).read_bytes() == BODY


def test_error_names_every_address(get):
    with serve([faults.page()]) as first, serve([faults.status(404)]) as second, pytest.raises(DataError) as caught:
        get(first.url, second.url)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()[1:3]] == [
        "gives an HTML page, not the file",
        "HTTP 404 Not Found",
    ]


def test_no_server_at_all(get):
    with pytest.raises(DataError, match="ConnectError"):
        get("http://127.0.0.1:9")


def test_redirect_is_followed(get, tmp_path):
    with serve([faults.good]) as target, serve([faults.redirect_to(lambda: target.url + "/file.bin")]) as server:
        get(server.url)
    assert final(tmp_path).read_bytes() == BODY


INSIDE = ("127.0.0.1", "localhost", "2130706433", "10.0.0.1", "169.254.169.254", "0.0.0.0", "[::1]", "[fe80::1]")
INSIDE += ("[::ffff:127.0.0.1]", "100.64.0.1", "inside.example")
REDIRECTS = {
    "http://b.example/x": "is sent on to http://b.example/x, where anybody",
    "https://b.example/http://b.example/y": "is sent on to http://b.example/y, where anybody",
    "https://b.example/x": "",
    "": "",
    **{f"https://{host}/x": "an address of this machine or its network" for host in INSIDE},
    "https://b.example/https://127.0.0.1/x": "is sent on to https://127.0.0.1/x, an address of this machine",
}


@pytest.mark.parametrize(("target", "fault"), REDIRECTS.items(), ids=REDIRECTS.keys())
def test_no_redirect_leaves_https_or_the_internet(get, tmp_path, monkeypatch, target, fault):
    """A path that is an address itself is where that host sends on to."""
    import socket

    import httpx

    sent: list[str] = []
    names = {"a.example": "93.184.216.34", "b.example": "2606:4700::1", "inside.example": "192.168.0.9"}
    resolve = socket.getaddrinfo
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *rest, **more: resolve(names.get(host, host), *rest, **more))

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(str(request.url))
        onward = target if request.url.host == "a.example" else request.url.path[1:]
        if "://" in onward:
            return httpx.Response(302, headers={"location": onward})
        return httpx.Response(200, stream=httpx.ByteStream(BODY))

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "Client", functools.partial(httpx.Client, transport=transport))
    if fault:
        with pytest.raises(DataError, match=fault):
            get("https://a.example/x")
        assert not final(tmp_path).exists()
        assert all(url.startswith(("https://a.example", "https://b.example")) for url in sent)
    else:
        get("https://a.example/x")
        assert final(tmp_path).read_bytes() == BODY


def test_right_file_is_left_alone_and_wrong_one_replaced(get, tmp_path):
    final(tmp_path).parent.mkdir(parents=True)
    final(tmp_path).write_bytes(BODY)
    assert get("http://127.0.0.1:9").origin == "already here"
    final(tmp_path).write_bytes(BODY[:-1] + b"!")
    with serve([faults.good]) as server:
        get(server.url)
    assert final(tmp_path).read_bytes() == BODY


def test_wrong_file_stays_when_nothing_better_comes(get, tmp_path):
    """A failed download does not destroy what was there; verify tells that it is wrong."""
    final(tmp_path).parent.mkdir(parents=True)
    final(tmp_path).write_bytes(b"old")
    with serve([faults.status(404)]) as server, pytest.raises(DataError):
        get(server.url)
    assert final(tmp_path).read_bytes() == b"old"


# --- trust on first use ---


def test_first_download_is_recorded_and_binding(get, tmp_path):
    with serve([faults.good]) as server:
        assert get(server.url, known=False).first_seen
        assert json.loads((tmp_path / "r.json").read_text())["set/file.bin"]["sha256"] == SHA
        assert not get(server.url, known=False).first_seen
    final(tmp_path).unlink()
    with serve([faults.wrong_bytes]) as server, pytest.raises(DataError, match="sha256"):
        get(server.url, known=False)
    assert not final(tmp_path).exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([faults.good], f"announces {SIZE} bytes, more than the 1000 of a file whose size is not known"),
        ([faults.no_length], "gives more than the 1000 bytes of a file whose size is not known"),
        ([faults.chunked], "gives more than the 1000 bytes of a file whose size is not known"),
    ],
)
def test_a_body_of_unknown_size_has_a_limit(script, message, get, tmp_path):
    with serve(script) as server, pytest.raises(DataError, match=message):
        get(entry=SourceFile(urls=[server.url + "/file.bin"], at_most=1000))
    assert not final(tmp_path).exists()
    assert len(server.requests) == 1


def zip_bytes() -> bytes:
    import io

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "hello" * 1000)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "script", "body", "message"),
    [
        ("file.zip", [faults.no_length_cut(50)], zip_bytes(), "not a whole zip archive"),
        ("file.gz", [faults.no_length_cut(600)], LONG_GZIP, "not a whole gzip file"),
        ("file.bin", [faults.page("application/octet-stream")], BODY, "an HTML page"),
        ("file.bin", [faults.empty], BODY, "empty"),
        ("file.zip", [faults.good], b"this is no zip", "not a whole zip archive"),
    ],
)
def test_unknown_checksum_is_judged_by_form(name, script, body, message, get, tmp_path):
    with serve(script, body) as server, pytest.raises(DataError, match=message):
        get(server.url, known=False, name=name)
    assert not final(tmp_path, name).exists()
    assert not (tmp_path / "r.json").exists()


def test_damaged_record(get, tmp_path):
    (tmp_path / "r.json").write_text('{"set/file.bin": {"bytes": "many"}}')
    with (
        serve([faults.good]) as server,
        pytest.raises(DataError, match=r"'set/file\.bin' is damaged; restore it from git"),
    ):
        get(server.url, known=False)


# --- mirror ---


def mirror_entry(content: bytes, path: str = "there/copy.bin", **more) -> SourceFile:
    copy = Copy(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), **more)
    return SourceFile(mirror=[copy], urls=["http://127.0.0.1:9/never"])


def put(tmp_path: Path, monkeypatch, content: bytes, path: str = "there/copy.bin") -> None:
    place = tmp_path / "mirror" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    monkeypatch.setenv("ITM_MIRROR", str(tmp_path / "mirror"))


def test_mirror_comes_first(get, tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, b"from the mirror")
    found = get(entry=mirror_entry(b"from the mirror"))
    assert final(tmp_path).read_bytes() == b"from the mirror"
    assert found.origin.endswith("there/copy.bin")
    assert is_clean(tmp_path)
    assert get(entry=mirror_entry(b"from the mirror")).origin == "already here"


def test_compressed_copy_is_expanded(get, tmp_path, monkeypatch):
    packed = gzip.compress(b"column\n1\n", mtime=0)
    put(tmp_path, monkeypatch, packed)
    get(entry=mirror_entry(packed, gzip=True))
    assert final(tmp_path).read_bytes() == b"column\n1\n"
    assert is_clean(tmp_path)


@pytest.mark.parametrize(
    ("there", "promised", "more", "message"),
    [
        (b"other bytes!!!!", b"from the mirror", {}, "sha256"),
        (b"short", b"from the mirror", {}, "5 bytes instead of 15"),
        (b"not gzip", b"not gzip", {"gzip": True}, "not a whole gzip file"),
        (CUT_GZIP, CUT_GZIP, {"gzip": True}, "not a whole gzip file"),
    ],
)
def test_wrong_copy_is_refused_and_the_network_tried(there, promised, more, message, get, tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, there)
    with pytest.raises(DataError, match=message) as caught:
        get(entry=mirror_entry(promised, **more))
    assert "ConnectError" in str(caught.value)
    assert not final(tmp_path).exists()


def test_mirror_without_the_file(get, tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, b"x", "elsewhere")
    with pytest.raises(DataError, match="no such file"):
        get(entry=mirror_entry(b"from the mirror"))


def test_file_of_an_installed_package(get, tmp_path):
    content = (Path(pytest.__file__).parent / "py.typed").read_bytes()
    entry = SourceFile(package="pytest/py.typed", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    assert get(entry=entry, name="py.typed").path.read_bytes() == content
    for package in ("no_such_package/py.typed", "pytest/no-such-file"):
        with pytest.raises(DataError, match="no such file"):
            get(entry=entry.model_copy(update={"package": package}), name="other")


def test_mirror_that_is_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ITM_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no such folder; correct it, or unset it"):
        mirror_folder()


def test_manual_file_says_what_to_put_where(get, tmp_path, monkeypatch):
    entry = SourceFile(manual="fill in the form at http://example.org", mirror=[Copy(path="set/photos.zip")])
    with pytest.raises(DataError, match=r"form at http://example.org; then put it at FOLDER/set/photos.zip") as caught:
        get(entry=entry, name="photos.zip")
    assert caught.value.reason == "manual"
    put(tmp_path, monkeypatch, b"not a zip", "set/photos.zip")
    with pytest.raises(DataError, match="not a whole zip archive"):
        get(entry=entry, name="photos.zip")
    put(tmp_path, monkeypatch, zip_bytes(), "set/photos.zip")
    assert get(entry=entry, name="photos.zip").first_seen


def test_full_disk_is_told_before_the_download(get, monkeypatch):
    usage = __import__("shutil").disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=10))
    with serve([faults.good]) as server, pytest.raises(DataError, match="GB are free") as caught:
        get(server.url)
    assert caught.value.reason == "no-space"
    assert server.requests == []


def test_verify(tmp_path):
    path = tmp_path / "file.bin"
    entry = SourceFile(urls=["http://127.0.0.1:9/x"], bytes=SIZE, sha256=SHA)
    with pytest.raises(DataError, match="missing; run `itm data fetch set`"):
        verify("set", "file.bin", entry, path)
    path.write_bytes(BODY)
    assert verify("set", "file.bin", entry, path) == SHA == sha256_of(path)
    path.write_bytes(BODY[:-1])
    with pytest.raises(DataError, match=f"{SIZE - 1} bytes instead of {SIZE}"):
        verify("set", "file.bin", entry, path)
    copy = Copy(path="set/file.bin", bytes=SIZE, sha256=SHA)
    with pytest.raises(DataError, match=f"bin: {SIZE - 1} bytes instead of {SIZE}; remove it"):  # told once
        verify("set", "file.bin", entry.model_copy(update={"mirror": [copy]}), path)


KILLED = """
import sys
from pathlib import Path
from itm.data.catalogue import SourceFile
from itm.data.download import fetch
entry = SourceFile(urls=[sys.argv[1]], bytes=int(sys.argv[3]), sha256=sys.argv[4])
fetch("set", "file.bin", entry, Path(sys.argv[2]), record_path=Path(sys.argv[2]).parent / "r.json")
"""


def slow(handler) -> None:
    """Two thirds of what is left, then a wait for the kill."""
    body, start = handler.server.body, handler.start
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - start))
    handler.send_header("ETag", handler.server.etag)
    handler.end_headers()
    handler.wfile.write(body[start : start + (len(body) - start) * 2 // 3])
    handler.wfile.flush()
    handler.server.closing.wait()


@pytest.mark.slow
def test_killed_and_run_again_it_resumes(tmp_path):
    """SIGKILL twice in the middle of a download; the third run ends it with the rest only."""
    body = os.urandom(3 << 20)
    path = tmp_path / "raw/set/file.bin"
    part = tmp_path / "raw/.incomplete/set/file.bin.part"
    environment = {name: value for name, value in os.environ.items() if name != "ITM_MIRROR"}
    with serve([slow, slow, faults.good], body) as server:
        command = [sys.executable, "-c", KILLED, server.url + "/f", str(path), str(len(body))]
        command.append(hashlib.sha256(body).hexdigest())
        sizes = []
        for _ in range(2):
            process = subprocess.Popen(command, env=environment)
            before = sizes[-1] if sizes else 0
            while not (part.is_file() and part.stat().st_size > before + (1 << 18)):
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not path.exists()
            sizes.append(part.stat().st_size)
        subprocess.run(command, env=environment, check=True)
        asked = [wanted for _, wanted in server.requests]
    assert path.read_bytes() == body
    assert asked == ["", f"bytes={sizes[0]}-", f"bytes={sizes[1]}-"]
