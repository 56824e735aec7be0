"""Time and memory of the score, side by side with scikit-learn.

    python benchmarks/descriptiveness.py [--captions 100000 1000000] [--workers 1 2] [--repeat 3] [--large]

The peer is ``TfidfVectorizer(norm=None).fit_transform(captions).sum(axis=1)``, with captions in a list that is ready;
ours reads a parquet file, starts its threads, and writes d, dn and counts to another. --large adds 10,000,000
captions, once. Every run is a process of its own; times leave its imports out; the best of the repeats counts, and
repeats of both take turns, so that other work on the machine hits both. CPU seconds say what a quiet machine would do.
Memory is the highest sum of resident memory over the process and its children; both hold some 0.1 GB of libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import smoke
from generated_captions import write_parquet
from results_page import commit, machine

LARGE = 10_000_000


def ours(path: Path, out: Path, workers: int) -> None:
    from itm.config import load
    from itm.text.stream import score_files

    parameters = load(Path(__file__).parents[1] / "params.yaml").score
    start, cpu = time.perf_counter(), cpu_seconds()
    found = score_files([path], out, parameters, workers)
    report(start, cpu, captions=found.captions)


def peer(path: Path, out: Path, workers: int) -> None:
    import pyarrow.parquet as pq
    from sklearn.feature_extraction.text import TfidfVectorizer

    captions = [text for batch in pq.ParquetFile(path).iter_batches() for text in batch["text"].to_pylist()]
    start, cpu = time.perf_counter(), cpu_seconds()
    TfidfVectorizer(norm=None).fit_transform(captions).sum(axis=1)
    report(start, cpu, captions=len(captions))


def same_tokens(path: Path, out: Path, workers: int) -> None:
    """The largest difference from scikit-learn with the same words, stop words and frequencies of 5 and more."""
    import pyarrow.parquet as pq
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    from itm.config import load
    from itm.text.idf import STOP_WORDS
    from itm.text.stream import score_files

    parameters = load(Path(__file__).parents[1] / "params.yaml").score.model_copy(
        update={"minimum_document_frequency": 1}
    )
    score_files([path], out, parameters, workers)
    captions = [text for batch in pq.ParquetFile(path).iter_batches() for text in batch["text"].to_pylist()]
    counts = CountVectorizer(token_pattern="[a-z0-9]+", stop_words=sorted(STOP_WORDS)).fit_transform(captions)
    expected = np.asarray(TfidfTransformer(norm=None).fit_transform(counts).sum(axis=1)).ravel()
    found = pq.ParquetFile(out).read(["descriptiveness"])["descriptiveness"].to_numpy()
    print(json.dumps({"difference": float(np.abs(found - expected).max())}))


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def report(start: float, cpu: float, captions: int) -> None:
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": cpu_seconds() - cpu, "captions": captions}))


def measured(what: str, path: Path, workers: int = 1) -> dict[str, float]:
    """Run one measurement in a process of its own and watch its memory."""
    out = path.with_suffix(f".{what}.parquet")
    command = [sys.executable, __file__, "--run", what, str(path), str(out), str(workers)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = [0]
    watcher = threading.Thread(target=watch, args=(child.pid, peak))
    watcher.start()
    output, _ = child.communicate()
    watcher.join()
    out.unlink(missing_ok=True)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {child.returncode}")
    return {**json.loads(output.splitlines()[-1]), "gigabytes": peak[0] / 1e9}


def watch(pid: int, peak: list[int]) -> None:
    try:
        process = psutil.Process(pid)
        while True:
            family = [process, *process.children(recursive=True)]
            peak[0] = max(peak[0], sum(member.memory_info().rss for member in family))
            time.sleep(0.05)
    except psutil.Error:
        return


def compare(folder: Path, captions: int, workers: list[int], repeat: int) -> list[str]:
    """Lines of the page's table: the best of the repeats of the peer and of ours, with each number of threads."""
    path = folder / f"{captions}.parquet"
    write_parquet(path, captions)
    runs = [("peer", 1), *(("ours", count) for count in workers)]
    found: dict[tuple[str, int], list[dict[str, float]]] = {run: [] for run in runs}
    for _ in range(repeat):
        for what, count in runs:
            found[what, count].append(measured(what, path, count))
    best = {run: {key: min(one[key] for one in ones) for key in ones[0]} for run, ones in found.items()}
    peer_best = best["peer", 1]
    lines = []
    for (what, count), one in best.items():
        name = "scikit-learn" if what == "peer" else f"itm, {count} thread{'s' * (count > 1)}"
        factor = "" if what == "peer" else f"{peer_best['seconds'] / one['seconds']:.1f}"
        lines.append(
            f"| {captions:,} | {name} | {one['seconds']:.1f} | {one['cpu']:.1f} | {one['gigabytes']:.2f} | {factor} |"
        )
        print(
            f"{captions:>11,}  {name:<18} {one['seconds']:8.2f} s {one['cpu']:8.2f} CPU s {one['gigabytes']:6.2f} GB"
            + (f"   {factor}x faster" if factor else ""),
            flush=True,
        )
    path.unlink()
    return lines


PAGE = """\
<!-- Written by benchmarks/descriptiveness.py. Do not edit. -->

# Speed and memory of the score

At commit {commit} on {machine}, all in one run of

```
{command}
```

The peer is `TfidfVectorizer(norm=None).fit_transform(captions).sum(axis=1)` with the captions in a list that is ready;
ours reads a Parquet file and writes scores to another. Each run is a process of its own, its imports not counted;
they take turns, and the best of the repeats counts (10,000,000 captions: one run each). Memory: the most that a process
and its children held at once. Captions are generated (`benchmarks/generated_captions.py`).

| captions | | seconds | CPU seconds | GB | times as fast |
|---:|---|---:|---:|---:|---:|
{lines}

Equality with scikit-learn: `python benchmarks/descriptiveness.py --equality --captions 1000000` prints the largest
difference of any score with the same tokens and options.
"""


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--captions", type=int, nargs="+", default=[100_000, 1_000_000])
    found.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    found.add_argument("--repeat", type=int, default=3)
    found.add_argument("--large", action="store_true", help=f"{LARGE:,} captions too, once (minutes; 8 GB)")
    found.add_argument("--equality", action="store_true", help="only the largest difference from scikit-learn")
    found.add_argument("--page", type=Path, help="write the results page to this file")
    return found


def main() -> None:
    arguments = smoke.read(parser(), "--captions 2000 --workers 2 --repeat 1 --page {scratch}/page.md")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.equality or arguments.smoke:
            for captions in arguments.captions:
                path = Path(folder) / f"{captions}.parquet"
                write_parquet(path, captions)
                print(f"{captions:>11,}  largest difference {measured('same_tokens', path)['difference']:.1e}")
        if arguments.equality:
            return
        lines: list[str] = []
        for captions in arguments.captions:
            lines += compare(Path(folder), captions, arguments.workers, arguments.repeat)
        if arguments.large:
            lines += compare(Path(folder), LARGE, arguments.workers[-1:], 1)
    if arguments.page:
        command = " ".join(["python benchmarks/descriptiveness.py", *sys.argv[1:]])
        filled = PAGE.format(commit=commit(), machine=machine(), command=command, lines="\n".join(lines))
        arguments.page.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        chosen = {"ours": ours, "peer": peer, "same_tokens": same_tokens}[sys.argv[2]]
        chosen(Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
