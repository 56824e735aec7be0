"""Cleaning of 600,000 captions (the size of COCO) with planted faults: time, memory, what was found.

    python benchmarks/clean_captions.py [CAPTIONS]

Budget on 2 cores: 20 s and 1.5 GB for rules, contracts and writing; every planted fault found, no good row lost.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import smoke

from itm.config.data import CleanParameters
from itm.data.clean.captions import clean_captions
from itm.data.clean.write import build_texts, typed, write_table
from itm.data.layout import CAPTIONS, HIERARCHIES, QUARANTINE, TEXTS
from itm.data.schemas import check_table

RULES = CleanParameters(
    maximum_words=100, minimum_letters=2, drop_repeated=True, language="any", train_side=0, strict_leaks=False
)
WORDS = (
    "man",
    "dog",
    "street",
    "red",
    "sitting",
    "with",
    "two",
    "large",
    "table",
    "people",
    "on",
    "grass",
    "of",
    "small",
)
MENDED = (" .", "  ", "\n", "&amp; more", "\u201cquoted\u201d", "\u200b", " caf\u00e9", " cafe\u0301")


def planted(count: int) -> tuple[pd.DataFrame, dict[int, str]]:
    """A raw caption table of `count` rows, and the reason of every row that cleaning must reject."""
    rng = random.Random(0)
    rows: list[tuple[int, str, str, int, str]] = []
    reasons: dict[int, str] = {}
    image = 0
    while len(rows) < count:
        split = "train" if len(rows) < 0.92 * count else "dev" if len(rows) < 0.96 * count else "test"
        first = len(rows)
        for position in range(5):
            text = f"a {' '.join(rng.choices(WORDS, k=rng.randint(5, 14)))} {image}x{position}"
            if rng.random() < 0.2:
                text += rng.choice(MENDED)
            reason = ""
            if position and rng.random() < 0.02:
                reason = rng.choice(["empty", "too-short", "placeholder", "too-long", "repeated"])
                text = {
                    "empty": rng.choice(["", " \n", "\u200b"]),
                    "too-short": rng.choice(["A", "b .", "7 8"]),
                    "placeholder": "Broken image",
                    "too-long": "very " * 101,
                    "repeated": rows[first][4].upper() + "!",
                }[reason]
            if reason and split == "train":
                reasons[len(rows)] = reason
            rows.append((len(rows), f"image-{image:06d}", split, position, text))
        image += 1
    table = pd.DataFrame(rows, columns=["caption_id", "image_id", "split", "position", "raw_text"])
    return table.assign(level=-1, multiplicity=-1, source="made", row=range(len(table))), reasons


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("captions", type=int, nargs="?", default=600_000)
    return found


def main() -> None:
    table, reasons = planted(smoke.read(parser(), "2000").captions)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    found = clean_captions(table, RULES)
    rules = time.perf_counter() - start
    captions = typed(found.table, CAPTIONS)
    quarantine = typed(found.rejected, QUARANTINE)
    chains = pd.DataFrame({"image_id": [], "level": [], "text": []})
    texts, chains = build_texts(captions, chains)
    tables = {CAPTIONS: captions, TEXTS: typed(texts, TEXTS), HIERARCHIES: typed(chains, HIERARCHIES)}
    tables[QUARANTINE] = quarantine
    faults = [fault for name, each in tables.items() for fault in check_table(name.split(".")[0], each)]
    with tempfile.TemporaryDirectory() as folder:
        for name, each in tables.items():
            write_table(each, Path(folder) / name)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    right = dict(zip(quarantine["row"].tolist(), quarantine["reason"].tolist(), strict=True)) == reasons
    print(f"captions {len(table)}, planted faults {len(reasons)}, all found and no good row lost: {right}")
    print(f"broken rules of the contracts: {len(faults)}")
    print(f"rules {rules:.1f} s, with contracts and writing {seconds:.1f} s ({cpu:.1f} s of CPU)")
    print(f"peak memory {peak / 1e6:.2f} GB, of which the raw table {memory / 1e6:.2f} GB")
    sys.exit(0 if right and not faults and seconds <= 20 and peak <= 1.5e6 else 1)


if __name__ == "__main__":
    main()
