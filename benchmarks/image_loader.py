"""Decoding and augmenting of photos to 224 px: this loader against plain loose files with Pillow and torchvision.

    python benchmarks/image_loader.py [--images 1200] [--workers 2] [--side 224] [--flat 100000] [--page PAGE]

The photos: 640 x 480 JPEG of about 140 KB (COCO's training photos have 163 KB on average), each a mosaic of nine of
Flickr8k's 224 px photos where ITM_MIRROR is set (enlarging small photos would make JPEGs that decode too easily), else
generated. All loaders draw the same crops (half to all of the area, half of them mirrored), resize with an antialiased
bilinear filter and give uint8 batches of 64. The first is what an ImageFolder does: one file an image, Pillow, a
DataLoader with worker processes; the second reads the same files with torchvision's decoder and its transforms. This
loader reads the same bytes from a shard, and shards as `clean.train_side` stores them. They take turns, `--repeat`
times; the best of each counts. `--flat N` then reads N images and watches the memory.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import smoke
import torch
from PIL import Image
from results_page import commit, machine
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2.functional import horizontal_flip, resized_crop

from itm.data.decode import decode, shrink
from itm.data.images import ImageStore, ShardWriter
from itm.data.loader import Augment, Loader
from itm.training.photos import fastest

BATCH = 64
SIZE = (640, 480)
DIFFERENT = 240
QUALITY = 95
TARGET = 2.5
AUGMENT = Augment(area=(0.5, 1.0), flip=True)
SMALLER = (320, 256)
"""Shorter sides of the shrunk shards. 317 px is what a crop of half the area of a 4:3 photo needs for 224 px."""
DIFFERENCE = """Difference: mean absolute difference from the crop that Pillow makes of the original photo, of 255. It
holds the rounding of the crop to whole pixels (all but Pillow: a shift by half a pixel at most, which the mosaics'
fine detail shows at its worst), what a decoder at half size loses, and, for smaller photos, a second compression.

"""
SMALLEST = "--images 2 --workers 1 --side 32 --repeat 1 --flat 20 --page {scratch}/page.md"
SAID: list[str] = []


def say(line: str) -> None:
    SAID.append(line)
    print(line, flush=True)


def photos(count: int) -> Iterator[bytes]:
    """`count` JPEG photos; a few hundred different ones, repeated."""
    tiles = list(sources())
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(min(count, DIFFERENT)):
        mosaic = Image.new("RGB", (672, 672))
        for place, tile in enumerate(rng.choice(len(tiles), 9, replace=False)):
            mosaic.paste(tiles[tile], (224 * (place % 3), 224 * (place // 3)))
        content = io.BytesIO()
        mosaic.crop((16, 96, 16 + SIZE[0], 96 + SIZE[1])).save(content, "JPEG", quality=QUALITY)
        kept.append(content.getvalue())
    for index in range(count):
        yield kept[index % len(kept)]


def sources() -> Iterator[Image.Image]:
    """Photos of 224 x 224 pixels."""
    if mirror := os.environ.get("ITM_MIRROR", ""):
        with zipfile.ZipFile(Path(mirror) / "flickr8k-224/Flickr8k_Dataset.zip") as archive:
            for name in [name for name in archive.namelist() if name.endswith(".jpg")][:DIFFERENT]:
                yield Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((224, 224))
    else:
        rng = np.random.default_rng(0)
        for _ in range(60):  # coarse and fine structure, about as heavy as photos
            layers = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (4, 28, 224)]
            pictures = [Image.fromarray(layer).resize((224, 224), Image.Resampling.BICUBIC) for layer in layers]
            large = [np.asarray(picture).astype(np.float64) for picture in pictures]
            yield Image.fromarray((0.6 * large[0] + 0.3 * large[1] + 0.1 * large[2]).astype(np.uint8))


class LooseFiles(Dataset[torch.Tensor]):
    """One file an image, as ImageFolder has it; `decode` gives the crop of a file's bytes."""

    def __init__(self, folder: Path, decode: Callable[[bytes, int], np.ndarray]) -> None:
        self.paths = sorted(folder.glob("*.jpg"))
        self.decode = decode

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.decode(self.paths[index].read_bytes(), index).copy())


class WithPillow:
    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, content: bytes, index: int) -> np.ndarray:
        image = Image.open(io.BytesIO(content)).convert("RGB")
        box, mirrored = AUGMENT.draw(*image.size, 0, index)
        resized = image.resize((self.side, self.side), Image.Resampling.BILINEAR, box)
        return np.asarray(resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else resized)


class WithTorchvision:
    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, content: bytes, index: int) -> np.ndarray:
        image = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
        box, mirrored = AUGMENT.draw(image.shape[2], image.shape[1], 0, index)
        left, top, right, bottom = map(round, box)
        crop = resized_crop(image, top, left, bottom - top, right - left, [self.side, self.side], antialias=True)
        return np.asarray((horizontal_flip(crop) if mirrored else crop).permute(1, 2, 0))


def measure(batches: Iterator[int]) -> tuple[float, float]:
    """Images a second, and milliseconds of CPU an image (worker processes included: fair on a busy machine)."""
    start, cpu, images = time.perf_counter(), used(), 0
    for count in batches:
        images += count
    return images / (time.perf_counter() - start), 1e3 * (used() - cpu) / images


def used() -> float:
    """CPU seconds of this process and its ended children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--images", type=int, default=1200)
    found.add_argument("--workers", type=int, default=2)
    found.add_argument("--side", type=int, default=224)
    found.add_argument("--repeat", type=int, default=3)
    found.add_argument("--flat", type=int, default=0, metavar="IMAGES", help="watch the memory over so many images")
    found.add_argument("--page", type=Path, help="write the figures to this Markdown file as well")
    return found


def main() -> None:
    options = smoke.read(parser(), SMALLEST)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = write(folder / "loose", folder, options.images)
        smaller = {side: write_smaller(folder / str(side), originals, side) for side in SMALLER}
        pillow, torchvision = WithPillow(options.side), WithTorchvision(options.side)
        stores = {
            "shards of the original bytes, `sharpness=1`": (originals, 1.0),
            "shards of the original bytes": (originals, 0.8),
            **{f"shards of {side} px (`clean.train_side: {side}`)": (store, 0.8) for side, store in smaller.items()},
        }
        loaders: dict[str, Callable[[], Iterator[int]]] = {
            "loose files, Pillow": lambda: loose(folder / "loose", pillow, options.workers),
            "loose files, torchvision": lambda: loose(folder / "loose", torchvision, options.workers),
            **{label: partial(ours, store, options, sharpness) for label, (store, sharpness) in stores.items()},
        }
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in loaders}
        for _ in range(options.repeat):
            for label, make in loaders.items():
                found[label].append(measure(make()))
        rows = np.arange(min(BATCH, len(originals)))
        expected, other = (
            np.stack([crop(originals.read(row), row) for row in rows.tolist()]) for crop in (pillow, torchvision)
        )
        differences = {"loose files, torchvision": difference(other, expected)}
        for label, (store, sharpness) in stores.items():
            ((_, pixels),) = loader(store, [rows], options, sharpness)
            differences[label] = difference(pixels, expected)
        table(found, differences)
        least = decoding(originals, options.side)
        wanted = min(cost for _, cost in found["loose files, Pillow"]) / TARGET
        say(
            f"\n{TARGET} times Pillow's loose files would leave {wanted:.2f} ms an image; decoding original bytes at a "
            f"half and resizing the crop take {least:.2f} ms"
            + (", so that original bytes do not get there; smaller photos do." if wanted < least else ".")
        )
        if options.flat:
            spawn = multiprocessing.get_context("spawn")  # the memory of this process has grown already
            with spawn.Pool(1) as pool:
                say("\n" + pool.apply(flat, (smaller[SMALLER[-1]], options)))
    if options.page:
        options.page.write_text(page(), encoding="utf-8")


def table(found: dict[str, list[tuple[float, float]]], differences: dict[str, float]) -> None:
    """The best of each loader, against the first and the second."""
    rate = {label: max(one for one, _ in runs) for label, runs in found.items()}
    cost = {label: min(one for _, one in runs) for label, runs in found.items()}
    pillow, torchvision, *_ = found
    say("| loader | images/s | CPU ms an image | against Pillow: speed, CPU | against torchvision | difference |")
    say("|---|---|---|---|---|---|")
    for label in found:
        versus = [f"{rate[label] / rate[one]:.2f}x, {cost[one] / cost[label]:.2f}x" for one in (pillow, torchvision)]
        off = f"{differences[label]:.1f}" if label in differences else ""
        say(f"| {label} | {rate[label]:.0f} | {cost[label]:.2f} | {versus[0]} | {versus[1]} | {off} |")
    say("")


def difference(pixels: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute difference of crops, in levels of 255."""
    return float(np.abs(pixels.astype(float) - expected).mean())


def decoding(store: ImageStore, side: int) -> float:
    """What decoding alone costs, in one thread, at full size, half and an eighth, and resizing a crop; the milliseconds
    of decoding at a half and resizing."""
    contents = [store.read(row) for row in range(min(DIFFERENT, len(store)))]
    best = {}
    for scale in (1, 2, 8):
        times = []
        for _ in range(5):
            start = time.process_time()
            for content in contents:
                decode(content, 0 if scale == 1 else SIZE[1] // scale)
            times.append(time.process_time() - start)
        best[scale] = 1e3 * min(times) / len(contents)
    kilobytes = np.mean([len(content) for content in contents]) / 1e3
    say(
        f"Decoding alone, original bytes ({kilobytes:.0f} KB): {best[1]:.2f} ms at full size, {best[2]:.2f} ms at a "
        f"half, {best[8]:.2f} ms at an eighth, where little but the compressed numbers is read."
    )
    whole, square = decode(contents[0], SIZE[1] // 2), np.empty((side, side, 3), np.uint8)
    crop, resize = whole[20:-20, 30:-30], fastest()
    start = time.process_time()
    for _ in range(1000):
        resize(crop, square)
    resizing = time.process_time() - start
    say(f"Resizing a crop of {crop.shape[1]} x {crop.shape[0]}: {resizing:.2f} ms.")
    return best[2] + resizing


def write(loose_files: Path, folder: Path, count: int) -> ImageStore:
    """The photos as loose files and as a shard."""
    loose_files.mkdir()
    rows = []
    with ShardWriter(folder / "images-train.tar") as shard:
        for index, content in enumerate(photos(count)):
            (loose_files / f"{index:06d}.jpg").write_bytes(content)
            offset = shard.add(f"{index:06d}.jpg", content)
            rows.append((f"{index:06d}", "images-train.tar", offset, len(content), *SIZE))
    return ImageStore(folder, pd.DataFrame(rows, columns=["image_id", "shard", "offset", "size", "width", "height"]))


def write_smaller(out: Path, originals: ImageStore, side: int) -> ImageStore:
    """The same photos with a shorter side of `side`, as `clean.train_side` stores them."""
    out.mkdir()
    rows = []
    kept = [shrink(originals.read(row), side) for row in range(min(DIFFERENT, len(originals)))]
    with ShardWriter(out / "images-train.tar") as shard:
        for index in range(len(originals)):
            content, header = kept[index % len(kept)]
            offset = shard.add(f"{index:06d}.jpg", content)
            rows.append((f"{index:06d}", "images-train.tar", offset, len(content), header.width, header.height))
    return ImageStore(out, pd.DataFrame(rows, columns=["image_id", "shard", "offset", "size", "width", "height"]))


def loose(folder: Path, decode: Callable[[bytes, int], np.ndarray], workers: int) -> Iterator[int]:
    loader = DataLoader(LooseFiles(folder, decode), BATCH, num_workers=workers, persistent_workers=False)
    return (len(batch) for batch in loader)


def ours(store: ImageStore, options: argparse.Namespace, sharpness: float, images: int = 0) -> Iterator[int]:
    """`images` of the store, over and over; 0 = each once."""
    images = images or len(store)
    batches = (np.arange(start, min(start + BATCH, images)) % len(store) for start in range(0, images, BATCH))
    return (len(rows) for rows, _ in loader(store, batches, options, sharpness))


def loader(store: ImageStore, batches: Iterable[np.ndarray], options: argparse.Namespace, sharpness: float) -> Loader:
    return Loader(
        store,
        batches,
        options.side,
        augment=AUGMENT,
        workers=options.workers,
        resize=fastest(),
        sharpness=sharpness,
    )


def flat(store: ImageStore, options: argparse.Namespace) -> str:
    """Read many images; the most memory after a tenth of them is compared with the most within the first tenth."""
    torch.set_num_threads(1)
    seen, early, late = 0, 0.0, 0.0
    for count in ours(store, options, 0.8, options.flat):
        seen += count
        if seen <= options.flat // 10:
            early = max(early, memory())
        else:
            late = max(late, memory())
    return (
        f"Memory of a process that reads {seen:,} images of {SMALLER[-1]} px shards: at most {early:.1f} MB in the "
        f"first tenth, at most {late:.1f} MB after it (PyTorch included)."
    )


def memory() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def page() -> str:
    first = "chrt -r 1 " if os.sched_getscheduler(0) == os.SCHED_RR else ""  # before other work of the machine
    command = " ".join([f"{first}python benchmarks/image_loader.py", *sys.argv[1:]])
    protocol = (__doc__ or "").split("\n\n", 2)[2].strip()
    return (
        "<!-- Written by benchmarks/image_loader.py. Do not edit. -->\n\n# Image loader: speed and memory\n\n"
        f"At commit {commit()} on {machine()}, all in one run of\n\n```\n{command}\n```\n\n{protocol}\n\n"
        + DIFFERENCE
        + "\n".join(SAID)
        + "\n"
    )


if __name__ == "__main__":
    main()
