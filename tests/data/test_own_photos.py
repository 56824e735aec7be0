"""The data set `folder`: the tables that people have of their photos, what is read of them, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from presets import ROOT, preset

from itm.config.parameters import Parameters
from itm.config.presets import compose
from itm.data.clean.run import clean_data_set
from itm.data.readers import RawData, read
from itm.data.readers.own_tables import CAPTION, FILE, read_rows
from itm.data.tables import read_images, read_quarantine
from itm.errors import ConfigError, DataError

NAMES = [f"{number}.jpg" for number in range(8)]
PAIRS = [(name, f"A caption of {name}") for name in NAMES]
Write = Callable[[Path], object]


def parameters(path: Path, **options: object) -> Parameters:
    options = {"table": "", "dev": 2.0, "test": 2.0} | options
    changes = {f"datasets.folder.{key}": value for key, value in options.items()}
    return preset("folder", changes={"data.path": str(path), **changes})


def reads(path: Path, **options: object) -> RawData:
    return read("folder", Path("not-used"), parameters(path, **options))


def photo(colour: int) -> bytes:
    content = io.BytesIO()
    image = Image.new("RGB", (24, 16), (colour, 90, 255 - colour))
    image.putpixel((colour % 24, colour % 16), (255, 255, 255))
    image.save(content, "JPEG")
    return content.getvalue()


def put_photos(folder: Path, names: list[str] = NAMES) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo(30 * number))


def delimited(name: str, header: tuple[str, str], delimiter: str = ",", encoding: str = "utf-8") -> Write:
    def write(folder: Path) -> None:
        put_photos(folder)
        lines = [delimiter.join(header), *(delimiter.join(pair) for pair in PAIRS)]
        (folder / name).write_bytes("\r\n".join(lines).encode(encoding))

    return write


def jsonl(name: str, file: str, caption: str) -> Write:
    def write(folder: Path) -> None:
        put_photos(folder)
        (folder / name).write_text("\n".join(json.dumps({"x": 1, file: f, caption: c}) for f, c in PAIRS))

    return write


def parquet(folder: Path) -> None:
    put_photos(folder)
    pd.DataFrame(PAIRS, columns=["image_path", "text"]).to_parquet(folder / "pairs.parquet")


def imagefolder(folder: Path) -> None:
    """As Hugging Face datasets has it, a part a split."""
    for part, pairs in (("train", PAIRS[:4]), ("validation", PAIRS[4:6]), ("test", PAIRS[6:])):
        put_photos(folder / part, [name for name, _ in pairs])
        lines = [json.dumps({"file_name": name, "text": text}) for name, text in pairs]
        (folder / part / "metadata.jsonl").write_text("\n".join(lines))


def tars(folder: Path, suffix: str = ".txt") -> None:
    folder.mkdir(exist_ok=True)
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05}.tar", "w") as tar:
            for number, (name, text) in enumerate(PAIRS[4 * shard : 4 * shard + 4]):
                key = name.removesuffix(".jpg")
                said = text if suffix == ".txt" else json.dumps({"caption": text, "width": 24})
                for file, content in ((f"{key}.jpg", photo(30 * number)), (f"{key}{suffix}", said.encode())):
                    entry = tarfile.TarInfo(file)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


FORMS: list[tuple[str, Write, str]] = [
    ("csv", delimited("captions.csv", ("file", "caption")), "captions.csv"),
    ("the only table of a folder", delimited("captions.csv", ("Filename", " Caption")), ""),
    ("open_clip", delimited("pairs.csv", ("filepath", "title"), "\t"), "pairs.csv"),
    ("semicolons, Excel", delimited("captions.csv", ("image", "text"), ";", "utf-8-sig"), ""),
    ("UTF-16", delimited("captions.tsv", ("path", "caption"), "\t", "utf-16"), ""),
    ("jsonl", jsonl("captions.jsonl", "image", "caption"), ""),
    ("imagefolder, one part", jsonl("metadata.jsonl", "file_name", "text"), ""),
    ("imagefolder, metadata.csv", delimited("metadata.csv", ("file_name", "text")), ""),
    ("imagefolder, a part a split", imagefolder, ""),
    ("parquet", parquet, ""),
    ("webdataset, txt", tars, ""),
    ("webdataset, json", lambda folder: tars(folder, ".json"), ""),
    ("webdataset, a pattern", tars, "*.tar"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("write", "table"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_every_form_gives_the_same_photos_and_captions(write: Write, table: str, tmp_path: Path) -> None:
    folder = tmp_path / "it's $(mine) {1}"
    folder.mkdir()
    write(folder)
    found = reads(folder, table=table)
    assert sorted(found.captions["raw_text"]) == [text for _, text in PAIRS]
    pairs = zip(found.captions["raw_text"], found.images["member"], strict=True)
    assert all(text.endswith(member.rpartition("/")[2]) for text, member in pairs)
    assert found.images["split"].tolist() == ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
    assert len(found.rejected) == 0
    out, quality = tmp_path / "out", tmp_path / "quality.json"
    report = clean_data_set(parameters(folder, table=table), Path("not-used"), out, quality, lambda *_: None)
    assert report["quarantine"] == {}
    assert len(read_images(out)) == 8
    given = "as the tables say" in found.notes["splits"]
    assert given == (write is imagefolder)


@given(order=st.permutations(["one", FILE[3], "two", CAPTION[1], "split"]), upper=st.booleans(), bom=st.booleans())
def test_columns_are_found_wherever_they_stand(order, upper, bom, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("columns")
    cells = {"one": "1", FILE[3]: "a,b.jpg", "two": "", CAPTION[1]: 'She said "no",\nthen left é', "split": "val"}
    table = pd.DataFrame([cells])[order]
    table.columns = [name.upper() if upper else name for name in order]
    table.to_csv(folder / "t.csv", index=False, encoding="utf-8-sig" if bom else "utf-8")
    (row,) = read_rows(folder / "t.csv")
    assert (row.file, row.text, row.split, row.fault) == (cells[FILE[3]], cells[CAPTION[1]], "val", "")


def test_splits_are_followed_and_what_nobody_names_is_drawn_by_the_names(tmp_path: Path) -> None:
    put_photos(tmp_path)
    (tmp_path / "captions.csv").write_text("file,caption\n" + "".join(f"{name},A dog\n" for name in NAMES))
    drawn = reads(tmp_path).images.set_index("image_id")["split"].to_dict()
    # the lowest SHA-256: printf 2.jpg | sha256sum gives 0c..., and so on
    import hashlib

    order = sorted(NAMES, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert {name for name, split in drawn.items() if split == "test"} == {name[0] for name in order[:2]}
    assert {name for name, split in drawn.items() if split == "dev"} == {name[0] for name in order[2:4]}
    (tmp_path / "captions.csv").write_text("caption,file\n" + "".join(f"A dog,{name}\n" for name in reversed(NAMES)))
    assert reads(tmp_path).images.set_index("image_id")["split"].to_dict() == drawn
    assert reads(tmp_path, dev=0.1, test=4).notes["splits"] == "4 test, 2 dev drawn by SHA-256 of the file names"
    rows = [("0.jpg", "test"), ("1.jpg", "Test"), ("2.jpg", "other"), ("3.jpg", ""), ("0.jpg", "train")]
    rows += [(name, "training") for name in NAMES[4:]]
    (tmp_path / "captions.csv").write_text("file,split,caption\n" + "".join(f"{f},{s},A {f}\n" for f, s in rows))
    found = reads(tmp_path)
    assert found.notes["splits"] == "train, test as the tables say; 2 dev drawn by SHA-256 of the file names"
    assert found.rejected["reason"].tolist() == ["no-split", "other-split", "no-split"]
    assert found.images.loc[found.images["split"] == "test", "image_id"].tolist() == ["0", "1"]


BAD_ROWS = [
    ("missing.jpg,A dog", "photo-missing", "no such photo"),
    ("0.JPG,A dog", "photo-missing", "no such photo; there is '0.jpg'"),
    ("photos/0.jpeg,A dog", "photo-missing", "there is '0.jpg'"),
    ("x\\0.jpg,A dog", "photo-missing", "there is '0.jpg'"),
    ("cafe\u0301.jpg,A dog", "photo-missing", "there is 'caf\u00e9.jpg' (the same letters in another Unicode form)"),
    ("https://example.org/0.jpg,A dog", "photo-missing", "an address"),
    ("../secret.jpg,A dog", "outside", "lies outside of"),
    ("/etc/passwd,A dog", "outside", "lies outside of"),
    (",A dog", "photo-missing", "no such photo"),
    ("0.jpg,", "empty", ""),
    ("0.jpg, \u200b", "empty", ""),
    ("0.jpg,A dog, running", "malformed", "3 fields instead of 2; one that holds ',' needs quotes"),
    ("0.jpg", "malformed", "1 fields instead of 2"),
    ('0.jpg,"A dog" runs', "malformed", "',' expected after '\"'"),
    ('0.jpg,"A dog', "malformed", "unexpected end of data"),
]


@pytest.mark.parametrize(("row", "reason", "text"), BAD_ROWS)
def test_a_bad_row_goes_to_quarantine_with_what_to_mend(row: str, reason: str, text: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    put_photos(folder, [*NAMES, "caf\u00e9.jpg"])
    (tmp_path / "secret.jpg").write_bytes(photo(1))
    good = "".join(f"{name},A caption of {name}\n" for name in NAMES)
    (folder / "captions.csv").write_text(f"file,caption\n{good}\n{row}\n", encoding="utf-8")
    found = reads(folder)
    assert len(found.images) == len(found.captions) == 8
    (rejected,) = found.rejected.itertuples()
    assert (rejected.reason, rejected.source) == (reason, "captions.csv")
    assert rejected.row == 11
    assert text in rejected.text


def test_bad_records_of_other_forms(tmp_path: Path) -> None:
    put_photos(tmp_path)
    records = [{"file": name, "caption": ["One", "Two"]} for name in NAMES]
    bad = ['{"file": "0.jpg"}', '{"file": 3, "caption": "x"}', "[1]", "{", '{"file": "0.jpg", "caption": [3]}']
    (tmp_path / "t.jsonl").write_text(
        "\n".join([*map(json.dumps, records), *bad, '{"file":"1.jpg","caption":"\\ud800"}'])
    )
    found = reads(tmp_path)
    assert found.rejected["reason"].tolist() == ["empty", *["malformed"] * 4]
    assert len(found.captions) == 17
    assert found.captions["raw_text"].str.encode("utf-8").notna().all()


def broken(folder: Path, name: str = "t.csv", content: bytes = b"") -> None:
    put_photos(folder, NAMES[:3])
    (folder / name).write_bytes(content)


BAD_TABLES: list[tuple[bytes, str, str]] = [
    (b"", "t.csv", r"no column for the photo's file \(file, .*\) and its caption \(caption, .*; it has nothing"),
    (b"photo,words\na,b\n", "t.csv", "no column for .*; it has photo, words; give the columns"),
    (b"file,caption\n", "t.csv", "none of 0 rows can be used"),
    (b"file,caption\na.jpg,x y\nb.jpg,x y\nc.jpg,x y\nd.jpg,x y\n", "t.csv",
     r"none of 4 rows can be used: t.csv:2 a.jpg: no such photo, .* and 1 more"),
    (b"file,caption\n0.jpg,caf\xe9\n", "t.csv", r"t.csv, line 2: not UTF-8; save the table as UTF-8"),
    (b"file,caption\n0.jpg,A dog\n1.jpg,A cat\n2.jpg,A cow\n", "t.csv",
     r"3 photos can be used \(train 0, dev 1, test 2\), and each split needs 2: too few for train, dev"),
    (b"not parquet", "t.parquet", "t.parquet: cannot be read .*; give a whole Parquet file"),
    (b"nonsense", "t.jsonl", "no column for .* it has nothing"),
    (b"not a tar", "t.tar", "t.tar: not a whole .* archive"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "name", "message"), BAD_TABLES)
def test_a_table_that_cannot_be_used_is_one_error(content: bytes, name: str, message: str, tmp_path: Path) -> None:
    broken(tmp_path, name, content)
    with pytest.raises(DataError, match=f"(?s){message}") as error:
        reads(tmp_path)
    assert len(str(error.value).encode()) < 1000


def test_which_table_is_meant_must_be_plain(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.path: .*nowhere: no such file or folder"):
        reads(tmp_path / "nowhere")
    put_photos(tmp_path)
    with pytest.raises(DataError, match=r"holds no table .* \(it has 0.jpg, 1.jpg, 2.jpg and 5 more\); known: .csv"):
        reads(tmp_path)
    with pytest.raises(DataError, match=r"0.jpg is no table; known: .csv"):
        reads(tmp_path / "0.jpg")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,caption\n")
    with pytest.raises(DataError, match=r"holds 2 tables \(a.csv, b.csv\); name one: data.path='.*/a.csv'"):
        reads(tmp_path)
    with pytest.raises(DataError, match=r"holds nothing named 'c.csv'"):
        reads(tmp_path, table="c.csv")
    (tmp_path / "caption.csv").touch()
    with pytest.raises(DataError, match=r"captions.csv: no such file or folder; did you mean 'caption.csv'"):
        reads(tmp_path / "captions.csv")


def test_names_that_are_alike_have_ids_of_their_own(tmp_path: Path) -> None:
    names = ["a/b.jpg", "a_b.jpg", "a.jpg", "a.png", "\u4e2d" * 60 + ".jpg", "...jpg", "\u00fc 'x' <b>.jpg"]
    put_photos(tmp_path, names)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"file": name, "caption": "A dog"}) for name in names))
    out = tmp_path / "out"
    clean_data_set(parameters(tmp_path), Path("not-used"), out, tmp_path / "q.json", lambda *_: None)
    ids = read_images(out)["image_id"]
    assert ids.is_unique
    assert len(ids) == 7
    assert "\u00fc 'x' <b>" in set(ids)


def test_a_damaged_photo_of_any_split_goes_to_quarantine_unless_too_few_are_left(tmp_path: Path) -> None:
    folder, out, quality = tmp_path / "photos", tmp_path / "out", tmp_path / "q.json"
    put_photos(folder, [*NAMES, "8.jpg"])
    rows = [(name, "test" if n < 3 else "val" if n < 6 else "train") for n, name in enumerate([*NAMES, "8.jpg"])]
    (folder / "t.csv").write_text("file,split,caption\n" + "".join(f"{f},{s},A photo {f}\n" for f, s in rows))
    (folder / "0.jpg").write_bytes(b"no photo")
    report = clean_data_set(parameters(folder), Path("not-used"), out, quality, lambda *_: None)
    assert report["quarantine"] == {"not-an-image": 1, "photo-rejected": 1}
    assert {split: each["images"] for split, each in report["after"].items()} == {"train": 3, "dev": 3, "test": 2}
    assert report["notes"]["splits"] == "train, dev, test as the tables say"
    assert set(read_quarantine(out)["image_id"]) == {"0"}
    (folder / "1.jpg").write_bytes(photo(3)[:200])
    with pytest.raises(
        DataError, match=r"1 photos of the split test can be used, and it needs 2; not used: 0: .*, 1: "
    ):
        clean_data_set(parameters(folder), Path("not-used"), out, quality, lambda *_: None)


@pytest.mark.slow
def test_the_folder_of_a_table_is_watched_and_any_name_is_taken(tmp_path: Path) -> None:
    """A table becomes its folder and its name, a pattern the folder before it; Hydra's grammar is not in the way."""

    def composed(path: str) -> tuple[str, str]:
        found = compose("folder", [f"data.path={path}"], root=ROOT)
        return found.data.path, found.datasets.folder.table

    folder = tmp_path / "it's (1) ${a} \\ $(touch x), [b]: 2"
    put_photos(folder, ["0.jpg"])
    (folder / "t.csv").touch()
    assert composed(f"{folder}/t.csv") == (str(folder), "t.csv")
    assert composed(str(folder)) == (str(folder), "")
    assert composed(f"{tmp_path}/*/a-{{0,1}}*.tar") == (str(tmp_path), "*/a-{0,1}*.tar")
    assert composed("later/captions.csv") == ("later/captions.csv", "")
    assert composed("README.md") == ("README.md", "")  # beside the project's results: watched alone


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("folder", "a\nb", "must be a folder or file of this machine, on one line"),
        ("folder", "s3://bucket/x", "must be a folder or file of this machine"),
        ("folder", "", "data.path = ''"),
        ("folder", "data/subsets", "say where your photos lie"),
        ("scenes", "photos", "data.name is scenes; set it to data/subsets"),
    ],
)
def test_a_path_that_cannot_be_is_refused(name: str, path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset(name, changes={"data.path": path})
