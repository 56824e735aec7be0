"""Approximate search, measured: libraries side by side, then the index of `itm index` on a million vectors.

    python benchmarks/search_index.py compare --vectors 100000 --dimension 128
    python benchmarks/search_index.py index --vectors 1000000 --dimension 128
    python benchmarks/search_index.py like embeddings/ditm/seed0/embeddings.npz    # statistics of real embeddings
    python benchmarks/search_index.py page            # docs/results/search.md from what was measured

Vectors are drawn (seed 0) so that they resemble the embeddings of a trained model: coordinates whose variance falls as
1/i, 2,000 topics of unequal size (Zipf, exponent 0.7) that hold 60 % of the variance, a common mean for images and
another for texts. A query is the text of an image of the index: its vector before scaling, plus noise of 1.2 times its
length.

Each measurement has a process of its own, so that its peak memory is its own; queries come one by one. faiss and
hnswlib are no packages of the project: put them where Python finds them (PYTHONPATH) for `compare`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import smoke
from results_page import ROOT, commit, machine

RESULTS, REAL = "search_index.jsonl", "search_index_like.json"
SMALLEST = (
    "all {run}/embeddings/ditm/seed0/embeddings.npz --vectors 300 --dimension 8 --threads 1 --libraries 'usearch f32' "
    "--kept {scratch} --page {scratch}/page.md"
)
K, QUERIES = 10, 1000
TOPICS, WITHIN, NOISE, MEAN = 2000, 0.4, 1.2, 0.3
WIDTHS = (16, 32, 64, 128, 256, 512)
LIBRARIES = ("usearch f32", "usearch f16", "usearch i8", "hnswlib", "faiss HNSW", "faiss IVF")


def drawn(count: int, dimension: int, queries: int = QUERIES) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (count, dimension) and (queries, dimension) float32."""
    rng = np.random.default_rng(0)
    spread = (np.arange(1, dimension + 1) ** -0.5).astype(np.float32)
    spread /= np.linalg.norm(spread)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32) * spread

    share = np.arange(1, TOPICS + 1) ** -0.7
    centres = normal(TOPICS, dimension)
    turn = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0].astype(np.float32)
    means = normal(2, dimension)
    means *= MEAN / np.linalg.norm(means, axis=1, keepdims=True)
    topic = rng.choice(TOPICS, count, p=share / share.sum())
    asked = rng.choice(count, min(queries, count), replace=False)
    vectors = np.empty((count, dimension), np.float32)
    query = np.empty((len(asked), dimension), np.float32)
    for start in range(0, count, 50_000):
        part = slice(start, min(start + 50_000, count))
        plain = (1 - WITHIN) ** 0.5 * centres[topic[part]] + WITHIN**0.5 * normal(part.stop - start, dimension)
        mine = np.flatnonzero((asked >= start) & (asked < part.stop))
        query[mine] = unit(plain[asked[mine] - start] + NOISE * normal(len(mine), dimension) + means[1]) @ turn
        vectors[part] = unit(plain + means[0]) @ turn
    return vectors, query


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def statistics(image: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """What tells embeddings apart for a search: how many directions they use, how dense neighbours lie."""
    rng = np.random.default_rng(0)
    image = image[rng.choice(len(image), min(len(image), 2000), replace=False)]
    text = text[rng.choice(len(text), min(len(text), 1000), replace=False)]
    variance = np.linalg.eigvalsh(np.cov(image.T))
    scores = np.sort(text @ image.T, axis=1)[:, ::-1]
    near = np.sort(image[:500] @ image.T, axis=1)[:, -2:0:-1][:, :50]
    distance = np.sqrt(np.maximum(2 - 2 * near, 1e-9))
    return {
        "directions (participation ratio)": float(variance.sum() ** 2 / (variance**2).sum()),
        "length of the mean image": float(np.linalg.norm(image.mean(0))),
        "local dimension of images (50 neighbours)": float(
            np.median(-1 / np.log(distance[:, :-1] / distance[:, -1:]).mean(1))
        ),
        "text to image, best": float(np.median(scores[:, 0])),
        "text to image, 10th": float(np.median(scores[:, 9])),
        "image to nearest image": float(np.median(near[:, 0])),
    }


def truth(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Rows of the K largest products of each query."""
    best = np.full((len(queries), K), -np.inf, np.float32)
    rows = np.zeros((len(queries), K), np.int64)
    for start in range(0, len(vectors), 20_000):
        scores = queries @ vectors[start : start + 20_000].T
        top = np.argpartition(scores, -K, axis=1)[:, -K:]
        both = np.concatenate((best, np.take_along_axis(scores, top, 1)), 1)
        names = np.concatenate((rows, top + start), 1)
        kept = np.argpartition(both, -K, axis=1)[:, -K:]
        best, rows = np.take_along_axis(both, kept, 1), np.take_along_axis(names, kept, 1)
    return rows


Search = Callable[[np.ndarray, int], np.ndarray]


def measure(search: Search, queries: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Recall@10 and milliseconds a query, one query at a time, for each search width."""
    found = []
    for width in WIDTHS:
        search(queries[0], width)
        hits, times = 0, []
        for query, wanted in zip(queries, right, strict=True):
            start = time.perf_counter()
            rows = search(query, width)
            times.append(time.perf_counter() - start)
            hits += len(np.intersect1d(rows, wanted))
        ms = 1000 * np.array(times)
        found.append(
            {
                "width": width,
                "recall": hits / right.size,
                "ms": float(np.median(ms)),
                "ms_95": float(np.quantile(ms, 0.95)),
            }
        )
        if found[-1]["recall"] > 0.995:
            break
    return found


def build_library(name: str, vectors: np.ndarray, threads: int) -> tuple[Search, Callable[[Path], Any]]:
    """A library's graph with 16 links and build width 128, its search, and how it is written."""
    count, dimension = vectors.shape
    if name.startswith("usearch"):
        from usearch.index import Index

        index: Any = Index(
            ndim=dimension,
            metric="cos" if name.endswith("i8") else "ip",
            dtype=name.split()[1],
            connectivity=16,
            expansion_add=128,
            enable_key_lookups=False,
        )
        index.add(np.arange(count), vectors, threads=threads)

        def by_usearch(query: np.ndarray, width: int) -> np.ndarray:
            index.expansion_search = width
            return np.asarray(index.search(query, K, threads=1).keys)

        return by_usearch, lambda path: index.save(str(path))
    if name == "hnswlib":
        import hnswlib

        graph = hnswlib.Index("ip", dimension)
        graph.init_index(count, ef_construction=128, M=16)
        graph.set_num_threads(threads)
        graph.add_items(vectors)
        graph.set_num_threads(1)

        def by_hnswlib(query: np.ndarray, width: int) -> np.ndarray:
            graph.set_ef(width)
            return np.asarray(graph.knn_query(query, K)[0][0])

        return by_hnswlib, lambda path: graph.save_index(str(path))
    import faiss

    faiss.omp_set_num_threads(threads)
    if name == "faiss HNSW":
        flat = faiss.IndexHNSWFlat(dimension, 16, faiss.METRIC_INNER_PRODUCT)
        flat.hnsw.efConstruction = 128
        flat.add(vectors)
    else:
        lists = int(4 * count**0.5)
        flat = faiss.index_factory(dimension, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        flat.train(vectors[:: max(1, count // (40 * lists))])
        flat.add(vectors)
    faiss.omp_set_num_threads(1)

    def by_faiss(query: np.ndarray, width: int) -> np.ndarray:
        if name == "faiss HNSW":
            flat.hnsw.efSearch = width
        else:
            flat.nprobe = max(1, width // 4)
        return np.asarray(flat.search(query[None], K)[1][0])

    return by_faiss, lambda path: faiss.write_index(flat, str(path))


def build_ours(vectors: np.ndarray, threads: int, folder: Path) -> tuple[Search, Callable[[Path], Any]]:
    """What `itm index` writes, opened as `itm search` opens it."""
    from itm.index.vectors import Facts, open_index, write_index

    path = folder / "ours.index"
    write_index(path, [str(row) for row in range(len(vectors))], vectors, Facts("", "", "dot", "", ""), threads)
    index = open_index(path)

    def search(query: np.ndarray, width: int) -> np.ndarray:
        return index.search(query, K, expansion=width)[0]

    return search, lambda other: path.rename(other)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def one(given: argparse.Namespace) -> None:
    """One measurement, as a line of JSON on standard output."""
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        folder = Path(scratch)
        vectors, queries = drawn(given.vectors, given.dimension[0])
        before = peak()
        right = truth(vectors, queries)
        wall, cpu = time.perf_counter(), time.process_time()
        if given.name == "itm index":
            search, write = build_ours(vectors, given.threads, folder)
        else:
            search, write = build_library(given.name, vectors, given.threads)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        built = peak()
        found = measure(search, queries, right)
        write(folder / "file")
        size = (folder / "file").stat().st_size / 2**20
        line = {
            "name": given.name,
            "vectors": given.vectors,
            "dimension": given.dimension[0],
            "threads": given.threads,
            "build_s": wall,
            "build_cpu_s": cpu,
            "data_mb": vectors.nbytes / 2**20,
            "before_mb": before,
            "peak_mb": built,
            "file_mb": size,
            "commit": commit(),
            "machine": machine(),
            "statistics": statistics(vectors, queries),
            "points": found,
        }
    print(json.dumps(line))


def measured(names: tuple[str, ...], given: argparse.Namespace) -> None:
    given.kept.mkdir(exist_ok=True)
    for dimension in given.dimension:
        for name in names:
            words = ["one", "--name", name, "--vectors", str(given.vectors), "--dimension", str(dimension)]
            words += ["--threads", str(given.threads)] + (["--scratch", str(given.scratch)] if given.scratch else [])
            # of several libraries some may not be installed; for --smoke all that are asked for are
            done = subprocess.run(
                [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=given.smoke
            )
            if done.returncode:
                print(f"{name}: failed (status {done.returncode})", file=sys.stderr)
                continue
            with (given.kept / RESULTS).open("a") as file:
                file.write(done.stdout.splitlines()[-1] + "\n")
            print(table([json.loads(done.stdout.splitlines()[-1])]), flush=True)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: for each measurement the narrowest search with recall@10 of 0.95 or more (or the widest there is)."""
    rows = [
        "| index | vectors | D | build, s | CPU s | peak memory, MB | file, MB "
        "| width | recall@10 | ms a query | 95 % under |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        good = [point for point in line["points"] if point["recall"] >= 0.95] or line["points"][-1:]
        point = good[0]
        rows.append(
            f"| {line['name']} | {line['vectors']:,} | {line['dimension']} | {line['build_s']:.0f} "
            f"| {line['build_cpu_s']:.0f} | {line['peak_mb']:,} | {line['file_mb']:,.0f} | {point['width']} "
            f"| {point['recall']:.3f} | {point['ms']:.2f} | {point['ms_95']:.2f} |"
        )
    return "\n".join(rows)


def widths(line: dict[str, Any]) -> str:
    rows = ["| width | recall@10 | ms a query | 95 % under |", "|---|---|---|---|"]
    rows += [f"| {p['width']} | {p['recall']:.3f} | {p['ms']:.2f} | {p['ms_95']:.2f} |" for p in line["points"]]
    return "\n".join(rows)


def page(kept: Path) -> str:
    """docs/results/search.md from the last measurement of each kind."""
    latest: dict[Any, dict[str, Any]] = {}
    for text in (kept / RESULTS).read_text().splitlines():
        line = json.loads(text)
        latest[line["name"], line["vectors"], line["dimension"]] = line
    ours = [line for line in latest.values() if line["name"] == "itm index"]
    peers = sorted(
        (line for line in latest.values() if line["name"] != "itm index"),
        key=lambda line: (line["vectors"], line["dimension"]),
    )
    ours.sort(key=lambda line: (line["vectors"], line["dimension"]))
    stated, real = statistics(*drawn(2000, 512)), kept / REAL
    columns = {"drawn": stated, **(json.loads(real.read_text()) if real.is_file() else {})}
    compared = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    compared += [f"| {key} | " + " | ".join(f"{c[key]:.2f}" for c in columns.values()) + " |" for key in stated]
    commits = ", ".join(sorted({line["commit"] for line in latest.values()}))
    machines = ", ".join(sorted({line["machine"] for line in latest.values()}))
    threads = ", ".join(sorted({str(line["threads"]) for line in latest.values()}))
    about = (__doc__ or "").split("\n\n")
    parts = [
        "<!-- Written by benchmarks/search_index.py page. Do not edit. -->",
        "# Search: a million vectors, and libraries compared",
        f"At commit {commits} on {machines}: {threads} threads for building, one for queries, one query at a time, "
        "beside other work on the same machine: wall times, and the slowest queries more than the median, are those of "
        "a busy machine. By",
        "```\n" + "\n".join(line.split("  #")[0].strip() for line in about[1].splitlines()) + "\n```",
        "Each row gives the narrowest search (`width`: HNSW's ef; faiss IVF: four times the lists that are read) whose "
        "recall@10 against the exact inner products is at least 0.95, over 1,000 queries. Peak memory is the "
        "process's, with the vectors in float32. HNSW: 16 links, build width 128, everywhere.",
        "## The index of `itm index`",
        table(ours),
        "The file holds the vectors in float32, from which all scores are computed, and the graph with copies in half "
        "precision. Both are mapped, not loaded.",
        *(f"At {line['vectors']:,} vectors, D = {line['dimension']}:\n\n{widths(line)}" for line in ours),
        "## Libraries compared",
        table(peers),
        "## The vectors",
        about[2].replace("\n", " "),
        "The same statistics at 2,000 images, D = 512, of these and of real embeddings (a higher local dimension makes "
        "search harder):",
        "\n".join(compared),
    ]
    return "\n\n".join(parts) + "\n"


def like(files: list[Path], name: str | None, kept: Path) -> None:
    """Keep the statistics of embeddings that the pipeline wrote."""
    found = {}
    for file in files:
        stored = np.load(file)
        found[str(json.loads(str(stored["protocol"]))["method"])] = statistics(stored["image"], stored["text"])
    kept.mkdir(exist_ok=True)
    (kept / REAL).write_text(json.dumps({f"{name or 'real'}, {method}": found[method] for method in found}))


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("what", choices=("compare", "index", "like", "page", "all", "one"))
    found.add_argument("files", nargs="*", type=Path)
    found.add_argument("--vectors", type=int, default=100_000)
    found.add_argument("--dimension", type=int, nargs="+", default=[128])
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    found.add_argument("--scratch", type=Path, help="folder for the index files; without it the system's")
    found.add_argument("--name", help="of the data set, for `like`")
    found.add_argument("--kept", type=Path, default=Path(".itm"), help="folder of what was measured")
    found.add_argument("--page", type=Path, default=ROOT / "docs/results/search.md", help="the page")
    return found


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    if given.what == "one":
        one(given)
    if given.what in ("compare", "all"):
        measured(tuple(given.libraries), given)
    if given.what in ("index", "all"):
        measured(("itm index",), given)
    if given.what in ("like", "all"):
        like(given.files, given.name, given.kept)
    if given.what in ("page", "all"):
        given.page.write_text(page(given.kept), encoding="utf-8")


if __name__ == "__main__":
    main()
