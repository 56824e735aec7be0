"""Decode and augment photos to 224 px: this loader against plain loose files with Pillow and with torchvision.

    python benchmarks/image_loader.py [--images 1200] [--workers 2] [--side 224] [--flat 100000]

All read the same JPEG photos (640 x 480, from Flickr8k where ITM_MIRROR is set, else generated), crop by the same
rule, resize with the same filter and give uint8 batches of 64. The first is what an ImageFolder does: one file an
image, Pillow, a DataLoader with worker processes; the second reads the same files with torchvision's decoder.
`--flat N` then reads N images (64 px) and prints the memory before and after.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from itm.data.images import ImageStore
from itm.data.loader import Augment, Loader
from itm.data.shards import ShardWriter

BATCH = 64
AUGMENT = Augment(area=(0.5, 1.0), flip=True)


def photos(count: int, size: tuple[int, int]) -> Iterator[bytes]:
    """`count` JPEG photos of the given size; a few hundred different ones, repeated."""
    mirror = os.environ.get("ITM_MIRROR", "")
    kept: list[bytes] = []
    if mirror:
        with zipfile.ZipFile(Path(mirror) / "flickr8k-224/Flickr8k_Dataset.zip") as archive:
            names = [name for name in archive.namelist() if name.endswith(".jpg")][:300]
            kept = [encode(Image.open(io.BytesIO(archive.read(name))).resize(size, Image.BICUBIC)) for name in names]
    else:
        rng = np.random.default_rng(0)
        for _ in range(300):
            coarse = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
            kept.append(encode(coarse.resize(size, Image.BICUBIC)))
    for index in range(count):
        yield kept[index % len(kept)]


def encode(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=90)
    return content.getvalue()


class LooseFiles(Dataset):
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
        found = np.asarray(image.resize((self.side, self.side), Image.BILINEAR, box))
        return found[:, ::-1] if mirrored else found


class WithTorchvision:
    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, content: bytes, index: int) -> np.ndarray:
        from torchvision.io import ImageReadMode, decode_jpeg
        from torchvision.transforms.functional import resized_crop

        image = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
        box, mirrored = AUGMENT.draw(image.shape[2], image.shape[1], 0, index)
        left, top, right, bottom = map(round, box)
        crop = resized_crop(image, top, left, bottom - top, right - left, [self.side, self.side], antialias=True)
        found = crop.permute(1, 2, 0).numpy()
        return found[:, ::-1] if mirrored else found


def measure(name: str, batches: Iterator[int]) -> tuple[float, float]:
    """Images a second, and milliseconds of CPU an image (worker processes included: fair on a busy machine)."""
    start, cpu, images = time.perf_counter(), used(), 0
    for count in batches:
        images += count
    rate, cost = images / (time.perf_counter() - start), 1e3 * (used() - cpu) / images
    print(f"{name:34} {rate:8.0f} images a second {cost:8.2f} ms of CPU an image")
    return rate, cost


def used() -> float:
    """CPU seconds of this process and its ended children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--flat", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write(folder, options.images, (640, 480))
        small = write_small(folder / "small", folder, 256)
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(options.repeat):
            for label, make in {
                "loose files, Pillow": lambda: loose(folder, WithPillow(options.side), options.workers),
                "loose files, torchvision": lambda: loose(folder, WithTorchvision(options.side), options.workers),
                "shards, this loader": lambda: ours(store, options),
                "shards of 256 px, this loader": lambda: ours(small, options),
            }.items():
                found.setdefault(label, []).append(measure(label, make()))
        rate = {label: max(one for one, _ in runs) for label, runs in found.items()}
        cost = {label: min(one for _, one in runs) for label, runs in found.items()}
        pillow, torchvision, *own = found
        for label in own:
            for other in (pillow, torchvision):
                ratio, saved = rate[label] / rate[other], cost[other] / cost[label]
                print(f"{label} / {other}: {ratio:.2f} x as fast, {saved:.2f} x less CPU")
        if options.flat:
            flat(folder, options)


def write(folder: Path, count: int, size: tuple[int, int]) -> ImageStore:
    """The photos as loose files and as a shard."""
    rows = []
    with ShardWriter(folder / "images-train.tar") as shard:
        for index, content in enumerate(photos(count, size)):
            (folder / f"{index:06d}.jpg").write_bytes(content)
            offset = shard.add(f"{index:06d}.jpg", content)
            rows.append((f"{index:06d}", "images-train.tar", offset, len(content), *size))
    return ImageStore(folder, pd.DataFrame(rows, columns=["image_id", "shard", "offset", "size", "width", "height"]))


def write_small(out: Path, folder: Path, side: int) -> ImageStore:
    """The same photos with a shorter side of `side`, as `clean.train_side` stores them."""
    from itm.data.decode import shrink

    out.mkdir()
    rows, known = [], {}
    with ShardWriter(out / "images-train.tar") as shard:
        for path in sorted(folder.glob("*.jpg")):
            content = path.read_bytes()
            if content not in known:
                known[content] = shrink(content, side)
            stored, header = known[content]
            offset = shard.add(path.name, stored)
            rows.append((path.stem, "images-train.tar", offset, len(stored), header.width, header.height))
    return ImageStore(out, pd.DataFrame(rows, columns=["image_id", "shard", "offset", "size", "width", "height"]))


def loose(folder: Path, decode: Callable[[bytes, int], np.ndarray], workers: int) -> Iterator[int]:
    loader = DataLoader(LooseFiles(folder, decode), BATCH, num_workers=workers, persistent_workers=False)
    return (len(batch) for batch in loader)


def ours(store: ImageStore, options: argparse.Namespace) -> Iterator[int]:
    batches = (np.arange(start, min(start + BATCH, len(store))) for start in range(0, len(store), BATCH))
    loader = Loader(store, batches, options.side, augment=AUGMENT, workers=options.workers)
    return (len(rows) for rows, _ in loader)


def flat(folder: Path, options: argparse.Namespace) -> None:
    """Read many small images; the memory after a tenth of them is the memory after all."""
    (folder / "flat").mkdir()
    store = write(folder / "flat", 300, (64, 64))
    batches = (np.arange(start, start + 300) % 300 for start in range(0, options.flat, 300))
    loader = Loader(store, batches, 64, augment=AUGMENT, workers=options.workers)
    seen, early = 0, 0.0
    for rows, _ in loader:
        seen += len(rows)
        if not early and seen >= options.flat // 10:
            early = memory()
    print(f"memory after {options.flat // 10} images {early:.1f} MB, after {seen} images {memory():.1f} MB")


def memory() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
