"""What the explorer answers: matches equal to the models' own products, faults as messages, strangers refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from small_model import KINDS, NASTY, picture
from starlette.testclient import TestClient

from itm.evaluation.benchmarks.hierarcaps import unit
from itm.explore.matching import Explorer
from itm.explore.start import open_explorer
from itm.metrics.hierarchy import radii
from itm.model import open_searchable
from itm.text.explain import total
from itm.text.tables import read_idf


def ask(client: TestClient, text: str) -> dict:
    answer = client.post("/match/text", json={"text": text})
    assert answer.status_code == 200, answer.text
    return answer.json()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds hardly a pixel."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(999)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def test_images_for_a_text_are_ranked_by_the_models_product(client: TestClient, explorer: Explorer) -> None:
    answer = ask(client, "a red circle")
    assert [model["name"] for model in answer["models"]] == ["clip, seed 0", "clip, seed 1"]
    for side, model in zip(explorer.sides, answer["models"], strict=True):
        (query,) = side.model.encode_texts(["a red circle"]).vectors
        scores = side.images @ query
        assert [match["row"] for match in model["results"]] == np.argsort(-scores, kind="stable")[:12].tolist()
        assert model["results"][0]["similarity"] == pytest.approx(scores.max(), abs=1e-4)
        bars = [match["bar"] for match in model["results"]]
        assert bars[0] == 1
        assert bars[-1] == 0
        assert bars == sorted(bars, reverse=True)
        assert "has no grade.json, so that its similarities are no probabilities" in model["about"]
        assert [match["probability"] for match in model["results"]] == [None] * 12
    assert answer["models"][0]["results"] != answer["models"][1]["results"]


def test_the_shares_add_up_to_d(client: TestClient, small: SimpleNamespace) -> None:
    query = ask(client, "a large red circle")["query"]
    assert query["d"] == pytest.approx(total(["a large red circle"], read_idf(small.idf))[0], abs=1e-3)
    assert sum(share["points"] for share in query["shares"]) == pytest.approx(query["d"], abs=1e-3)
    assert {share["word"]: share["why"] for share in query["shares"]}["a"] == "stop word"


def test_the_walk_is_met_by_looking_at_every_text(client: TestClient, explorer: Explorer) -> None:
    """Against a plain reading of the rule: of the texts within the level's radius, the most similar one."""
    answer = client.post("/match/image", json={"row": 3}).json()
    for side, model in zip(explorer.sides, answer["models"], strict=True):
        texts = explorer.texts.walk
        vectors = unit(side.model.text_vectors(texts))
        target = unit(side.images[3:4])[0]
        radius = radii(vectors, unit(side.model.text_vectors([""]))[0])
        expected = []
        for bound in np.linspace(radius.min(), radius.max(), 50):
            within = np.flatnonzero(radius <= bound)
            expected.append(texts[within[np.argmax(vectors[within] @ target)]])
        assert [step["text"] for step in model["walk"]] == expected
        assert model["walk"][-1]["similarity"] == pytest.approx((vectors @ target).max(), abs=1e-4)


def test_captions_for_a_photo(client: TestClient, explorer: Explorer) -> None:
    content = picture(*KINDS[5])
    answer = client.post("/match/photo", files={"photo": ('it\'s "mine".png', content, "image/png")}).json()
    assert answer["query"]["name"] == "it's %22mine%22.png"  # as forms carry it; the page shows the name it knows
    same = client.post("/match/image", json={"row": 5}).json()
    for one, other in zip(answer["models"], same["models"], strict=True):
        assert [match["text"] for match in one["results"]] == [match["text"] for match in other["results"]]
        assert one["walk"] == other["walk"]
    assert any(match["own"] for match in same["models"][0]["results"] + same["models"][1]["results"]) or len(
        explorer.texts.captions
    ) > len(same["models"][0]["results"])
    assert not any(match["own"] for match in answer["models"][0]["results"])


def test_images_are_served_as_small_jpeg(client: TestClient) -> None:
    answer = client.get("/image/0")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    for row in ("12", "-1", "x", "1e3", "²"):
        assert client.get(f"/image/{row}").status_code == 404


def test_captions_are_escaped_in_the_page(client: TestClient) -> None:
    page = client.get("/")
    assert NASTY not in page.text
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text


def test_an_image_comes_with_its_longest_caption(client: TestClient, explorer: Explorer) -> None:
    for match in ask(client, NASTY)["models"][0]["results"]:
        own = explorer.texts.own[match["name"]]
        assert len(own) == 3
        assert match["caption"] == max(own, key=len)


BAD_PHOTOS = {
    "empty": (b"", 422, "the file is empty"),
    "text": (b"no photo at all", 422, "this is no photo that can be read"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "this is no photo that can be read"),
    "broken": (picture(*KINDS[0])[:150], 422, "damaged image"),
    "144 megapixels": (png_header(12_000, 12_000), 422, "12,000 x 12,000 pixels, more than 100 megapixels"),
    "bomb": (png_header(60_000, 60_000), 422, "more than 100 megapixels"),
    "large file": (b"\xff\xd8\xff" + bytes(33 * 2**20), 413, "at most 32 MB"),
}


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_bad_photos_get_a_message_and_it_keeps_working(client: TestClient, kind: str) -> None:
    content, status, message = BAD_PHOTOS[kind]
    answer = client.post("/match/photo", files={"photo": ("x.png", content)})
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert client.post("/match/photo", files={"photo": ("x.png", picture(*KINDS[0]))}).status_code == 200


def test_a_body_of_unknown_length_is_cut_off(client: TestClient) -> None:
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield bytes(2**20)

    answer = client.post("/match/photo", content=endless(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "type a text first"),
        (" \n ", "type a text first"),
        ("dog " * 25_000, "the text has 99,999 characters; at most 1,000 are taken"),
        ("half \ud83d", "lone surrogate"),
    ],
)
def test_bad_texts(client: TestClient, text: str, message: str) -> None:
    import json

    answer = client.post(
        "/match/text", content=json.dumps({"text": text}), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert message in answer.json()["error"]
    assert len(ask(client, "a dog")["models"]) == 2


@pytest.mark.parametrize("text", ["x", "🙂", "مرحبا", "\u0000\u202e", "a" * 1000, "' OR 1=1 --"])
def test_odd_texts_have_answers(client: TestClient, text: str) -> None:
    assert len(ask(client, text)["models"][0]["results"]) == 12


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"[" * 200_000, "application/json", 422),
        (b"[1]", "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"text": 3}', "application/json", 422),
        (b"\xff", "application/json", 422),
        (b'{"text": "a dog"}', "text/plain", 415),
        (b"text=a", "application/x-www-form-urlencoded", 415),
    ],
)
def test_bad_requests(client: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = client.post("/match/text", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "body",
    [b"", b"--x\r\n", b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\nplain\r\n--x--\r\n', b"\0" * 99],
)
def test_bad_forms(client: TestClient, body: bytes) -> None:
    answer = client.post("/match/photo", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


def test_two_photos_at_once_are_refused(client: TestClient) -> None:
    photo = ("x.png", picture(*KINDS[0]))
    assert client.post("/match/photo", files=[("photo", photo), ("photo", photo)]).status_code == 400


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil", "127.0.0.1:", "127.0.0.2:8765", ""],
)
@pytest.mark.parametrize("path", ["/", "/image/0", "/files/explorer.js"])
def test_other_hosts_are_refused(client: TestClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 421
    assert "answers to no other name" in answer.json()["error"]


def test_own_names_are_answered(client: TestClient) -> None:
    """At another port, as behind a tunnel, too."""
    for host in ("127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "127.0.0.1", "localhost:9000"):
        assert client.get("/", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8765"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_pages_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/match/text", json={"text": "a"}, headers=headers).status_code == 403
    assert client.get("/image/0", headers=headers).status_code == 403


def test_own_page_and_links_to_it_are_answered(client: TestClient) -> None:
    own = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    assert client.post("/match/text", json={"text": "a"}, headers=own).status_code == 200
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/files/explorer.js", "/image/0", "/nothing", "/files/..%2fapp.py"])
def test_every_answer_carries_the_policy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/files/..%2fapp.py", "/files/page.html.j2", "/files/", "/docs"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_without_tables_images_are_matched_and_photos_are_told_why_not(
    small: SimpleNamespace, tmp_path: Path, enter: Callable[[Explorer], TestClient]
) -> None:
    folder = tmp_path / "it's <b>my photos"
    folder.mkdir()
    for number, kind in enumerate(KINDS[:3]):
        (folder / f"photo '{number}' <i>.png").write_bytes(picture(*kind))
    (folder / "broken.png").write_bytes(b"x")
    said: list[str] = []
    missing = folder / "no tables"
    found = open_explorer(small.models[:1], str(folder), missing, missing / "idf.parquet", None, 1, said.append)
    client = enter(found)
    assert any("left out: broken.png" in line for line in said)
    page = client.get("/").text
    assert "1 could not be read" in page
    assert "<b>my" not in page
    assert "it&#39;s &lt;b&gt;my photos" in page
    answer = ask(client, "a red circle")
    assert answer["query"]["d"] is None
    assert "dvc repro score" in answer["note"]
    assert {match["name"] for match in answer["models"][0]["results"]} == {f"photo '{n}' <i>.png" for n in range(3)}
    assert answer["models"][0]["walk"] == []
    photo = client.post("/match/image", json={"row": answer["models"][0]["results"][0]["row"]}).json()
    assert photo["models"][0]["results"] == []
    assert "no captions are here" in photo["note"]
    assert client.post("/match/image", json={"row": 0}).status_code == 422  # broken.png comes first


def test_threads_agree(small: SimpleNamespace) -> None:
    one, two = (open_searchable(small.models[0], threads).text_vectors(["a red circle"]) for threads in (1, 2))
    assert np.allclose(one, two, atol=1e-6)
