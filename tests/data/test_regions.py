"""Region features of a user: both layouts, names of images in several forms, and what is refused."""

import json

import numpy as np
import pytest

from itm.data.regions import check_finite, read_regions
from itm.errors import DataError

IDS = ["COCO_val2014_000000000042", "COCO_train2014_000000000007", "1000092795"]


def regions(seed: int, count: int = 3, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((count, width), np.float32)


def write(folder, name: str, rows: list[np.ndarray], lines: list[str]) -> None:
    np.save(folder / f"{name}_ims.npy", np.stack(rows))
    (folder / f"{name}_ids.txt").write_text("".join(f"{line}\n" for line in lines))


def test_scan_arrays_name_images_by_id_file_or_number(tmp_path) -> None:
    a, b, c = (regions(seed) for seed in range(3))
    write(tmp_path, "train", [a, regions(9)], ["7", "a picture of another set"])
    write(tmp_path, "testall", [b, c], ["val2014/COCO_val2014_000000000042.jpg", "1000092795"])
    found = read_regions(tmp_path, IDS)
    assert [each.tolist() for each in found] == [b.tolist(), a.tolist(), c.tolist()]


def test_a_row_for_each_caption_and_images_in_two_files_count_once(tmp_path) -> None:
    a, b = regions(0), regions(1)
    write(tmp_path, "dev", [a] * 5 + [b] * 5, [IDS[0]] * 5 + [IDS[1]] * 5)
    write(tmp_path, "test", [regions(2)], [IDS[1]])  # the first file counts
    assert [each.tolist() for each in read_regions(tmp_path, IDS[:2])] == [a.tolist(), b.tolist()]
    write(tmp_path, "dev", [a, b], [IDS[0]] * 5 + [IDS[1]] * 5)  # lines by caption, rows by image
    assert [each.tolist() for each in read_regions(tmp_path, IDS[:2])] == [a.tolist(), b.tolist()]


def test_one_file_an_image_may_differ_in_its_regions(tmp_path) -> None:
    for key, name, count in (("features", IDS[0], 2), ("feat", "7", 5), ("x", IDS[2], 1)):
        np.savez(tmp_path / f"{name}.npz", **{key: regions(count, count)})
    np.savez(tmp_path / "unrelated.npz", other=np.zeros(3))
    assert [each.shape for each in read_regions(tmp_path, IDS)] == [(2, 4), (5, 4), (1, 4)]


def test_both_layouts_together_and_an_order_of_ones_own(tmp_path) -> None:
    write(tmp_path, "train", [regions(0)], [IDS[0]])
    np.savez(tmp_path / f"{IDS[2]}.npz", features=regions(2))
    found = read_regions(tmp_path, [IDS[2], IDS[0]])
    assert [each.tolist() for each in found] == [regions(2).tolist(), regions(0).tolist()]


def bad(case: str, folder) -> None:
    good = [regions(seed) for seed in range(3)]
    write(folder, "train", good, IDS)
    match case:
        case "empty":
            for path in folder.iterdir():
                path.unlink()
        case "missing":
            write(folder, "train", good[:1], IDS[:1])
        case "no ids":
            (folder / "train_ids.txt").unlink()
        case "lines":
            (folder / "train_ids.txt").write_text("7\n")
        case "mixed":
            (folder / "train_ids.txt").write_text("".join(f"{n}\n" for n in range(15)))
        case "flat":
            np.save(folder / "train_ims.npy", np.zeros((3, 4), np.float32))
        case "integers":
            np.save(folder / "train_ims.npy", np.zeros((3, 3, 4), np.int64))
        case "pickle":
            np.save(folder / "train_ims.npy", np.array([{}, [], 1], object), allow_pickle=True)
        case "cut":
            path = folder / "train_ims.npy"
            path.write_bytes(path.read_bytes()[:-8])
        case "text":
            (folder / "train_ids.txt").write_bytes(b"\xff\xfe\n")
        case "widths":
            write(folder, "train", good[:2], IDS[:2])
            np.savez(folder / f"{IDS[2]}.npz", features=regions(0, 3, 6))
        case "key":
            write(folder, "train", good[:2], IDS[:2])
            np.savez(folder / f"{IDS[2]}.npz", boxes=regions(0))
        case "cube":
            write(folder, "train", good[:2], IDS[:2])
            np.savez(folder / f"{IDS[2]}.npz", x=np.zeros((1, 3, 4)))
        case "no zip":
            write(folder, "train", good[:2], IDS[:2])
            (folder / f"{IDS[2]}.npz").write_bytes(b"PK nothing")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("empty", "holds neither *_ims.npy nor *.npz; put region features there"),
        ("missing", "2 of 3 images have no regions (COCO_train2014_000000000007, 1000092795)"),
        ("no ids", "train_ids.txt: no such file; it must name the image of each row of train_ims.npy"),
        ("lines", "train_ids.txt: 1 lines for 3 rows of train_ims.npy"),
        ("mixed", "five lines a row of train_ims.npy, and those of 3 rows name several images (0, 1, 2)"),
        ("flat", "expected an array of floats (images, regions, width), found float32 (3, 4)"),
        ("integers", "expected an array of floats (images, regions, width), found int64 (3, 3, 4)"),
        ("pickle", "train_ims.npy: cannot be read"),
        ("cut", "train_ims.npy: cannot be read"),
        ("text", "train_ids.txt: is not text"),
        ("widths", "regions have 2 widths (4, 6); 2 images are not as wide as the others"),
        ("key", "has no array features, feat, x (has: boxes)"),
        ("cube", "expected floats (regions, width), found float64 (1, 3, 4)"),
        ("no zip", "1000092795.npz: cannot be read"),
    ],
)
def test_what_is_refused(tmp_path, case: str, message: str) -> None:
    bad(case, tmp_path)
    with pytest.raises(DataError) as caught:
        read_regions(tmp_path, IDS)
    assert message in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_regions(tmp_path / "none", IDS)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_that_are_no_numbers_or_too_large(value: float) -> None:
    good, wrong = regions(0), regions(1)
    wrong[1, 2] = value
    check_finite([good], ["a"])
    with pytest.raises(DataError, match=r"regions of 2 images are empty, not finite, or beyond 65504 \(b, c\)"):
        check_finite([good, wrong, np.zeros((0, 4))], ["a", "b", "c"])


FLICKR = ["1000092795", "10002456", "1000268201"]


@pytest.mark.parametrize("form", ["dataset_flickr30k.json", "id_mapping.json"])
def test_numbers_of_karpathys_list(tmp_path, form) -> None:
    rows = [regions(seed).astype(np.float16) for seed in range(3)]
    write(tmp_path, "train", rows[:2], ["0", "2"])
    write(tmp_path, "dev", [rows[2]] * 5, ["1"] * 5)
    with pytest.raises(DataError, match=r"name 0 images .*, as 1, 1, 1; if these are .* put dataset_flickr30k.json"):
        read_regions(tmp_path, FLICKR)
    names = {str(number): f"{name}.jpg" for number, name in enumerate(FLICKR)}
    listed = {"images": [{"imgid": int(number), "filename": name} for number, name in names.items()]}
    (tmp_path / form).write_text(json.dumps(names if form == "id_mapping.json" else listed))
    found = read_regions(tmp_path, FLICKR)
    assert [each.tolist() for each in found] == [rows[0].tolist(), rows[2].tolist(), rows[1].tolist()]
    # numbers that are names (COCO's) are no places in a list
    write(tmp_path, "coco", [regions(7)], ["42"])
    (tmp_path / "id_mapping.json").write_text(json.dumps({"42": "COCO_train2014_000000000007.jpg", **names}))
    assert read_regions(tmp_path, [IDS[0]])[0].tolist() == regions(7).tolist()


def test_five_rows_a_line(tmp_path) -> None:
    write(tmp_path, "dev", [regions(0)] * 5 + [regions(1)] * 5, IDS[:2])
    assert read_regions(tmp_path, IDS[:2])[1].tolist() == regions(1).tolist()
    write(tmp_path, "dev", [regions(seed) for seed in range(10)], IDS[:2])
    with pytest.raises(DataError, match=r"five rows a line of dev_ids\.txt, and they are not the same"):
        read_regions(tmp_path, IDS[:2])


def test_a_list_of_another_form(tmp_path) -> None:
    write(tmp_path, "dev", [regions(0)], [IDS[0]])
    (tmp_path / "dataset_x.json").write_text('{"images": [{"id": 3}]}')
    with pytest.raises(DataError, match=r"dataset_x\.json: is neither numbers with file names nor Karpathy's list"):
        read_regions(tmp_path, IDS[:1])
