"""Stand-ins for data sets whose files are not here: exactly their file layout, with generated photos and captions.

Archives, folders, JSON keys and image names are those of the originals; only the bytes are made up. `serve_folder`
gives them out on 127.0.0.1, and `override` writes the catalogue that points there.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 200), "yellow": (220, 200, 50)}
THINGS = ("dog", "cat", "bus", "kite", "clock", "boat")
PLACES = ("on the grass", "near a wall", "in the street", "by the water")


class Photo:
    """One made-up photo: what it shows, its five captions, its JPEG bytes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.colour = list(COLOURS)[number % 4]
        self.thing = THINGS[number // 4 % 6]
        self.place = PLACES[number // 24 % 4]

    @property
    def captions(self) -> list[str]:
        colour, thing, place = self.colour, self.thing, self.place
        return [
            f"A {colour} {thing} {place}.",
            f"There is a {thing} {place} .",
            f"The {colour} {thing}",
            f"Photo number {self.number} of a {thing} that is {colour}",
            f"a {thing}",
        ]

    @property
    def chain(self) -> str:
        return f"object => {self.thing} => {self.colour} {self.thing} => {self.captions[0]}"

    @property
    def regions(self) -> np.ndarray:
        """36 regions of 12 numbers."""
        return np.random.default_rng(self.number).normal(size=(36, 12)).astype(np.float32)

    def jpeg(self) -> bytes:
        rng = np.random.default_rng(self.number)
        width, height = (80, 60) if self.number % 3 else (60, 80)
        x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        # waves of its own under every thing: no two photos look alike
        waves = sum(np.sin(rng.uniform(3, 15) * x + rng.uniform(3, 15) * y + rng.uniform(0, 6)) for _ in range(3))
        pixels = np.repeat(110 + 35 * waves[:, :, None], 3, axis=2)
        kind = THINGS.index(self.thing)
        pixels[8 + 4 * kind : 24 + 4 * kind, 10:40] = np.array(COLOURS[self.colour])
        content = io.BytesIO()
        mode = "L" if self.number % 29 == 28 else "RGB"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode).save(content, "JPEG", quality=90)
        return content.getvalue()


SIZES = {"train": 60, "restval": 12, "val": 12, "test": 16}


def coco_photos() -> dict[str, list[Photo]]:
    numbers = iter(range(1000))
    return {split: [Photo(next(numbers)) for _ in range(size)] for split, size in SIZES.items()}


def coco_id(photo: Photo) -> int:
    return 1000 + 7 * photo.number


def coco_name(photo: Photo, split: str) -> str:
    folder = "train2014" if split == "train" else "val2014"
    return f"COCO_{folder}_{coco_id(photo):012d}.jpg"


def sentence_id(photo: Photo, position: int) -> int:
    return 10 * coco_id(photo) + position


def write_coco(folder: Path) -> None:
    """All files of the `coco` preset."""
    photos = coco_photos()
    for archive in ("train2014", "val2014"):
        members = {
            f"{archive}/{coco_name(photo, split)}": photo.jpeg()
            for split, own in photos.items()
            for photo in own
            if (split == "train") == (archive == "train2014")
        }
        write_zip(folder / f"{archive}.zip", members)
    records = []
    for split in ("test", "val", "train", "restval"):
        for photo in photos[split]:
            texts = photo.captions + (["one caption more than five"] if photo.number % 10 == 0 else [])
            record = karpathy_record(photo, split, texts, [sentence_id(photo, i) for i in range(len(texts))])
            name = coco_name(photo, split)
            records.append({**record, "filename": name, "filepath": name.split("_")[1], "cocoid": coco_id(photo)})
    write_splits(folder, "coco", records)
    for split in ("val", "test"):
        write_ratings(folder, split, photos[split])
    write_chains(folder, photos["val"] + photos["restval"][:4])


def write_chains(folder: Path, photos: list[Photo]) -> None:
    """HierarCaps' files: a chain of texts for each photo, and the photos."""
    with (folder / "hierarcaps.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "captions", "image_url"])
        for row, photo in enumerate(photos):
            writer.writerow([row, photo.chain, f"http://images.cocodataset.org/val2014/{coco_name(photo, 'val')}"])
    write_zip(
        folder / "hierarcaps-images.zip",
        {f"hierarcaps-8a28b2e/assets/test_imgs/{coco_name(photo, 'val')}": photo.jpeg() for photo in photos},
    )


def write_ratings(folder: Path, split: str, photos: list[Photo]) -> None:
    """Crisscrossed Captions files of one split: a pair scores by what its two photos have in common."""

    def score(one: Photo, other: Photo) -> float:
        return 5 if one is other else 2.2 * (one.thing == other.thing) + 1.3 * (one.colour == other.colour) + 0.4

    def caption(photo: Photo, position: int) -> str:
        return f"COCO_val2014:sentid:{sentence_id(photo, position)}"

    pairs = [(one, other) for place, one in enumerate(photos) for other in photos[place + 1 :]]
    sits = [(caption(one, 0), coco_name(other, "val"), score(one, other), "c2i_intrasim") for one, other in pairs]
    sits += [(caption(p, i), coco_name(p, "val"), 4.8, "c2i_original") for p in photos for i in range(5)]
    sts = [(caption(one, 1), caption(other, 2), score(one, other), "c2c_isim") for one, other in pairs]
    sis = [(coco_name(one, "val"), coco_name(other, "val"), score(one, other), "i2i_csim") for one, other in pairs]
    columns = {"sits": ("caption", "image"), "sts": ("caption1", "caption2"), "sis": ("image1", "image2")}
    for kind, rows in (("sits", sits), ("sts", sts), ("sis", sis)):
        with (folder / f"{kind}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*columns[kind], "agg_score", "sampling_method"])
            writer.writerows(rows)


def write_flickr30k(folder: Path) -> None:
    """All files of the `flickr30k` preset."""
    photos = [(split, photo) for split, own in coco_photos().items() if split != "restval" for photo in own]
    with tarfile.open(folder / "flickr30k-images.tar.gz", "w:gz") as tar:
        for _, photo in photos:
            content = photo.jpeg()
            entry = tarfile.TarInfo(f"flickr30k-images/{1000000 + photo.number}.jpg")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    records = []
    for place, (split, photo) in enumerate(photos):
        record = karpathy_record(photo, split, photo.captions, [5 * place + i for i in range(5)])
        records.append({**record, "filename": f"{1000000 + photo.number}.jpg"})
    write_splits(folder, "flickr30k", records)


def write_regions(folder: Path, name: str, raw: Path) -> None:
    """SCAN's region files: training images once, others five times; Flickr30K's images by number, COCO's by id."""
    folder.mkdir(exist_ok=True)
    photos = coco_photos()
    restval = photos.pop("restval")
    if name == "coco":
        photos["train"] += restval
    else:
        with zipfile.ZipFile(raw / "caption_datasets.zip") as archive:
            archive.extract("dataset_flickr30k.json", folder)
    for split, own in photos.items():
        rows = [photo for photo in own for _ in range(1 if split == "train" else 5)]
        file = "dev" if split == "val" else split
        np.save(folder / f"{file}_ims.npy", np.stack([photo.regions for photo in rows]))
        ids = (coco_id(photo) if name == "coco" else photo.number for photo in rows)
        (folder / f"{file}_ids.txt").write_text("".join(f"{each}\n" for each in ids))


def write_hierarcaps(folder: Path) -> None:
    """All files of the data set `hierarcaps`; COCO's caption file has photos of others, and a sixth caption."""
    photos = [Photo(number) for number in range(12)]
    write_chains(folder, photos)
    annotations = [
        {"image_id": coco_id(photo), "id": sentence_id(photo, position), "caption": text}
        for position in reversed(range(6))
        for photo in [Photo(50), *photos]
        for text in [f"{[*photo.captions, 'one caption more than five'][position]}\n "]
        if position < 5 or photo.number % 10 == 0
    ]
    content = {"info": {}, "images": [{"id": coco_id(photo)} for photo in photos], "annotations": annotations}
    (folder / "captions_val2017.json").write_text(json.dumps(content), encoding="utf-8")


REMOTE_SENSING = {"train": 40, "val": 8, "test": 12}


def remote_sensing_photos(splits: tuple[str, ...] = ("train", "val", "test")) -> list[tuple[str, Photo]]:
    numbers = iter(range(1000))
    return [(split, Photo(next(numbers))) for split in splits for _ in range(REMOTE_SENSING[split])]


def remote_sensing_json(photos: list[tuple[str, Photo]], suffix: str, name: str) -> bytes:
    """Records in an order that mixes the splits, as the originals have it; one image has the same sentence twice."""
    records = []
    for split, photo in sorted(photos, key=lambda pair: pair[1].number * 7 % 60):
        texts = photo.captions if photo.number else [photo.captions[0]] * 2 + photo.captions[2:]
        record = karpathy_record(photo, split, texts, [5 * photo.number + i for i in range(5)])
        records.append({**record, "filename": f"{photo.thing}_{photo.number}{suffix}"})
    return json.dumps({"images": records, "dataset": name}).encode()


def write_rsicd(folder: Path) -> None:
    """All files of the `rsicd` preset: the JSON by itself, .jpg in a folder, and the notes that macOS adds."""
    photos = remote_sensing_photos()
    (folder / "dataset_rsicd.json").write_bytes(remote_sensing_json(photos, ".jpg", "rsicd"))
    members = {f"RSICD_images/{photo.thing}_{photo.number}.jpg": photo.jpeg() for _, photo in photos}
    members["__MACOSX/RSICD_images/._dog_0.jpg"] = b"notes"
    write_zip(folder / "RSICD_images.zip", members)


def tif(photo: Photo) -> bytes:
    content = io.BytesIO()
    Image.open(io.BytesIO(photo.jpeg())).convert("RGB").save(content, "TIFF")
    return content.getvalue()


def write_rsitmd(folder: Path) -> None:
    """All files of the `rsitmd` preset: one archive with JSON, .tif and a script; train and test only."""
    photos = remote_sensing_photos(("train", "test"))
    members = {f"RSITMD/images/{photo.thing}_{photo.number}.tif": tif(photo) for _, photo in photos}
    members["RSITMD/dataset_RSITMD.json"] = remote_sensing_json(photos, ".tif", "RSITMD")
    members["RSITMD/rsitmd_api.py"] = b"# parses annotations"
    write_zip(folder / "RSITMD.zip", members)


def news_id(photo: Photo) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"photo {photo.number}"))


def article(photo: Photo) -> dict:
    return {
        "section": "Science",
        "headline": f"All About the {photo.thing.title()}",
        "abstract": f"What a {photo.colour} {photo.thing} may do.",
        "caption": photo.captions[0],
        "image_url": "https://example.org/a.jpg",
        "article_url": "https://example.org/a.html",
        "image_id": news_id(photo),
        "body": "Long.",
    }


def n24news_articles() -> dict[str, list[dict]]:
    """Articles by split: one of train without a caption, one of test too; a test photo that training has as well."""
    numbers = iter(range(1000))
    articles = {
        split: [article(Photo(next(numbers))) for _ in range(size)]
        for split, size in (("train", 30), ("dev", 6), ("test", 8))
    }
    articles["train"][3]["caption"] = ""
    articles["test"][1]["caption"] = " "
    articles["train"].append(articles["test"][2] | {"headline": "Once more"})
    return articles


def write_n24news(folder: Path) -> None:
    """All files of the `n24news` preset: one archive with three lists of articles and the photos by id."""
    articles = n24news_articles()
    photos = {f"imgs/{news_id(Photo(number))}.jpg": Photo(number).jpeg() for number in range(45)}
    lists = {f"news/nytimes_{split}.json": json.dumps(own).encode() for split, own in articles.items()}
    whole = [each for own in articles.values() for each in own]
    write_zip(folder / "N24News.zip", {**lists, "news/nytimes_dataset.json": json.dumps(whole).encode(), **photos})


def karpathy_record(photo: Photo, split: str, texts: list[str], ids: list[int]) -> dict:
    sentences = [
        {"tokens": text.lower().strip(" .").split(), "raw": text, "imgid": photo.number, "sentid": number}
        for text, number in zip(texts, ids, strict=True)
    ]
    return {"sentids": ids, "imgid": photo.number, "sentences": sentences, "split": split}


def write_splits(folder: Path, name: str, records: list[dict]) -> None:
    content = json.dumps({"images": records, "dataset": name}).encode()
    write_zip(folder / "caption_datasets.zip", {f"dataset_{name}.json": content})


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address under which the files of `folder` are given out."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def override(name: str, folder: Path, url: str, path: Path) -> None:
    """Write the catalogue override; every second file comes without a checksum, to be trusted on first use."""
    files = {}
    for number, file in enumerate(sorted(folder.iterdir())):
        content = file.read_bytes()
        known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} if number % 2 else {}
        files[file.name] = {"urls": [f"{url}/{file.name}"], **known}
    path.write_text(json.dumps({name: {"files": files}}), encoding="utf-8")
