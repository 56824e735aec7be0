"""Times, memory and equality of the evaluation, side by side with its peers in one run.

    python benchmarks/metrics.py [all] [--repeat 5] [--threads 2] [--scale 5000 10000 20000] [--device cuda]

Random embeddings of the COCO test gallery (5,000 images, 25,000 captions, D = 512) are evaluated on COCO 5K,
COCO 1K, the four CxC retrieval tasks and ECCV Caption. Each measurement runs in a process of its own, so that
its peak memory is its own; a time is the best of the repeats. Needs the CxC ratings (ITM_MIRROR) and the
package eccv_caption.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import smoke
from results_page import commit, machine

D = 512
SAID: list[str] = []
"""All lines of the result, for the page."""


def say(line: str) -> None:
    print(line, flush=True)
    SAID.append(line)


def embeddings(images: int, owners: np.ndarray, noise: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in float32 whose captions lie near their image: R@1 around 50 %, as of a trained model."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((images, D), dtype=np.float32)
    text = image[owners]
    for start in range(0, len(text), 50_000):
        part = slice(start, start + 50_000)
        text[part] += noise * rng.standard_normal((len(text[part]), D), dtype=np.float32)
        text[part] /= np.linalg.norm(text[part], axis=1, keepdims=True)
    return image / np.linalg.norm(image, axis=1, keepdims=True), text


def products(image: np.ndarray, text: np.ndarray) -> None:
    """The two float32 matrix products that the tasks need, in blocks, without looking at the result."""
    for left in (image, text):
        for start in range(0, len(left), 1000):
            left[start : start + 1000] @ text.T


def _ours(image: np.ndarray, text: np.ndarray, wanted: tuple[str, ...], items: bool) -> dict[str, float]:
    from itm.evaluation.published import coco, coco_files
    from itm.vectors import Vectors

    gallery = coco_files.read_gallery(None)
    arrays = {
        "image_ids": gallery.image_ids,
        "image_embeddings": image,
        "caption_ids": gallery.caption_ids,
        "caption_embeddings": text,
    }
    vectors = Vectors(Path("memory"), arrays)
    report = coco.evaluate(vectors, wanted, None, normalize=False, items=items, correlations=False)
    return {key: value for key, value in report.to_json().items() if key != "protocol"}


def ours(image: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """Everything on the COCO gallery, as `itm evaluate --benchmark coco,cxc,eccv` does it."""
    return _ours(image, text, ("coco", "cxc", "eccv"), items=True)


def ours_coco(image: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """COCO 5K and 1K only: what `argsort_coco` does."""
    return _ours(image, text, ("coco",), items=False)


def ours_cxc(image: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """The four CxC tasks only: what `argsort_cxc` does."""
    return _ours(image, text, ("cxc",), items=True)


def ours_eccv(image: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """COCO, CxC i2t and t2i, and ECCV Caption: what `eccv_package` does."""
    return _ours(image, text, ("coco", "cxc", "eccv"), items=False)


def float64_reference(image: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """R@K of COCO 5K and of the CxC tasks from float64 scores, by counting; lower position first among ties."""
    from itm.evaluation.benchmarks import cxc
    from itm.evaluation.published import coco_files
    from itm.metrics import Positives

    gallery = coco_files.read_gallery(None)
    answers = cxc.rated_answers(coco_files.read_cxc(gallery, None), gallery.owners, len(image))
    own = Positives.from_owners(gallery.owners, len(image))
    found = {}
    for key, left, right, positives, self_out in (
        ("coco_5k/i2t", image, text, own[0], False),
        ("coco_5k/t2i", text, image, own[1], False),
        ("cxc/i2t", image, text, answers.i2t, False),
        ("cxc/t2i", text, image, answers.t2i, False),
        ("cxc/t2t", text, text, answers.t2t, True),
        ("cxc/i2i", image, image, answers.i2i, True),
    ):
        wide = right.astype(np.float64).T
        ranks = []
        for start in range(0, len(left), 500):
            scores = left[start : start + 500].astype(np.float64) @ wide
            for row, values in enumerate(scores):
                query = start + row
                mine = positives.of(query)
                if self_out:
                    values[query] = -np.inf
                    if not len(mine):
                        continue
                best = values[mine].max(initial=-np.inf)
                first = mine[np.argmax(values[mine])] if len(mine) else 0
                before = np.count_nonzero(values > best) + np.count_nonzero(values[:first] == best)
                ranks.append(before if len(mine) else len(values))
        for k in (1, 5, 10):
            found[f"{key}/r{k}"] = float(np.mean(np.array(ranks) < k))
    return found


def argsort_coco(image: np.ndarray, text: np.ndarray) -> None:
    """COCO 5K and 1K as VSE-infinity's evaluator does it: a full argsort of every query's scores."""
    size = len(image) // 5
    for first, step in ((0, len(image)), *((fold * size, size) for fold in range(5))):
        images, captions = image[first : first + step], text[5 * first : 5 * (first + step)]
        scores = images @ captions.T
        for number in range(len(images)):
            order = np.argsort(scores[number])[::-1]
            min(np.where(order == 5 * number + j)[0][0] for j in range(5))
        for number in range(len(captions)):
            order = np.argsort(scores[:, number])[::-1]
            np.where(order == number // 5)[0][0]


def argsort_cxc(image: np.ndarray, text: np.ndarray) -> None:
    """The four CxC tasks by full argsorts of full matrices (an equal share of VSE-infinity's work)."""
    for left, right in ((image, text), (text, image), (text, text), (image, image)):
        scores = left @ right.T
        for number in range(len(left)):
            order = np.argsort(scores[number])[::-1]
            np.where(order == number % len(right))[0][0]


def eccv_package(image: np.ndarray, text: np.ndarray) -> None:
    """COCO 5K, 1K, CxC i2t and t2i and ECCV by the package eccv_caption, from top-1000 lists."""
    import warnings

    warnings.simplefilter("ignore")
    import eccv_caption

    from itm.evaluation.published import coco_files

    gallery = coco_files.read_gallery(None)
    scores = image @ text.T
    lists: dict[str, dict[int, list[int]]] = {}
    for task, table, queries, items in (
        ("i2t", scores, gallery.image_ids, gallery.caption_ids),
        ("t2i", scores.T, gallery.caption_ids, gallery.image_ids),
    ):
        lists[task] = {}
        for query, row in zip(queries.tolist(), table, strict=True):
            top = np.argpartition(-row, min(1000, len(row) - 1))[:1000]
            lists[task][query] = items[top[np.argsort(-row[top])]].tolist()
    metrics = eccv_caption.Metrics()
    wanted = ("coco_5k_recalls", "coco_1k_recalls", "cxc_recalls", "eccv_map_at_r", "eccv_rprecision", "eccv_r1")
    metrics.compute_all_metrics(lists["i2t"], lists["t2i"], wanted, Ks=(1, 5, 10))


def bootstraps(image: np.ndarray, text: np.ndarray) -> None:
    """The three CxC correlations, 1,000 trials each."""
    from itm.evaluation.benchmarks import cxc
    from itm.evaluation.published import coco_files
    from itm.metrics import DotProduct

    pairs = DotProduct(image, text)
    for kind, rated in coco_files.read_cxc(coco_files.read_gallery(None), None).items():
        cxc.correlate(kind, rated, cxc.pair_scores(kind, rated, image, text, pairs), 1000, 0)


def hierarcaps(image: np.ndarray, text: np.ndarray) -> None:
    """HierarCaps, official evaluation: 1,000 images, 3,132 texts, 50 levels, tau_d."""
    from itm.metrics import chain_scores, radii, radius_levels, tau_d

    image, root, text = image[:1000], text[-1], text[:3132]
    chains = np.random.default_rng(0).integers(0, len(text), (len(image), 4))
    chain_scores(radius_levels(image, text, root), chains, np.arange(len(image)))
    tau_d(radii(text, root)[chains])


def scale(image: np.ndarray, text: np.ndarray, device: str | None = None) -> None:
    """Ranks both ways of a larger gallery; products by torch where a device is named."""
    from itm.metrics import DotProduct, Positives, rank_all
    from itm.metrics.scorer import multiply
    from itm.pipeline.products import DeviceProducts

    answers = Positives.from_owners(np.repeat(np.arange(len(image)), 5), len(image))
    scorer = DotProduct(image, text, multiply=DeviceProducts(device) if device else multiply)
    rank_all(scorer, rows=[answers[0]], columns=[answers[1]])


QUICK = ["products", "ours", "ours_coco", "ours_cxc", "ours_eccv", "bootstraps", "hierarcaps"]
PEERS = ["argsort_coco", "argsort_cxc", "eccv_package", "float64_reference"]
JOBS = {
    job.__name__: job
    for job in (
        products,
        ours,
        ours_coco,
        ours_cxc,
        ours_eccv,
        bootstraps,
        hierarcaps,
        argsort_coco,
        argsort_cxc,
        eccv_package,
        float64_reference,
        scale,
    )
}


def run_job(name: str, images: int, repeat: int, device: str | None) -> None:
    """Run one job in this process and print what was measured as JSON."""
    from itm.evaluation.published import coco_files

    if name == "scale":
        owners = np.repeat(np.arange(images), 5)
    else:
        coco_files.SIZE = (images, 5 * images)  # smaller for --smoke
        owners = coco_files.read_gallery(None).owners
        if name.startswith("ours") or name == "bootstraps":
            coco_files.read_cxc(coco_files.read_gallery(None), None)  # reading files is not what is measured
    image, text = embeddings(images, owners)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu, value = [], [], None
    for _ in range(repeat):
        start, start_cpu = time.perf_counter(), time.process_time()
        if name == "scale":
            scale(image, text, device)
        else:
            value = JOBS[name](image, text)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps({"wall": min(wall), "cpu": min(cpu), "before": before / 1024, "peak": peak / 1024, "value": value})
    )


def measure(name: str, repeat: int, images: int, device: str | None = None) -> dict[str, Any]:
    """One job in a process of its own."""
    command = [sys.executable, __file__, "--job", name, "--images", str(images), "--repeat", str(repeat)]
    command += ["--device", device] if device else []
    with tempfile.TemporaryFile() as output:
        subprocess.run(command, check=True, stdout=output)
        output.seek(0)
        found: dict[str, Any] = json.loads(output.read().splitlines()[-1])
    times = f"best of {repeat}: {found['wall']:7.2f} s wall {found['cpu']:7.2f} s cpu"
    say(f"{name:18} {images:>7} images  {times}   peak {found['peak']:6.0f} MB ({found['before']:.0f} MB before)")
    return found


def small_files(folder: Path, images: int) -> dict[str, str]:
    """The environment in which jobs find files that hold the first images alone, with their captions.

    These are the gallery, the CxC ratings, and a copy of the package eccv_caption.
    """
    from itm.evaluation.benchmarks import cxc
    from itm.evaluation.published import coco_files, sources

    gallery, number = coco_files.read_gallery(smoke.mirror()), _number
    first = gallery.owners < images
    captions, owners = gallery.caption_ids[first].tolist(), gallery.image_ids[gallery.owners[first]].tolist()
    kept = {"caption": set(captions), "image": set(owners)}
    texts = {"original_caption": "", "tokenized_caption": ""}
    table = [{"split": "test", "caption_id": c, "image_id": i, **texts} for c, i in zip(captions, owners, strict=True)]
    write_rows(folder / "karpathy_captions.csv", table)
    for kind in cxc.KINDS:
        rows = list(sources.rows(sources.find((f"{kind}_test.csv",), smoke.mirror())))
        columns = [name for name in rows[0] if name.rstrip("12") in kept]
        rows = [row for row in rows if all(number(row[name]) in kept[name.rstrip("12")] for name in columns)]
        write_rows(folder / f"{kind}_test.csv", rows)
    data = folder / "eccv_caption" / "data"
    shutil.copytree(sources.eccv_caption_data().parent, data.parent)
    for file in data.glob("*.json"):
        query, item = ("image", "caption") if "image_to_caption" in file.name else ("caption", "image")
        answers = {
            key: [answer for answer in found if int(answer) in kept[item]]
            for key, found in sources.read_json(file).items()
            if int(key) in kept[query]
        }
        file.write_text(json.dumps({key: found for key, found in answers.items() if found}), encoding="utf-8")
    np.save(data / "coco_test_ids.npy", np.array(captions))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"ITM_MIRROR": str(folder), "PYTHONPATH": path}


def _number(name: str) -> int:
    """The id in CxC's names of captions and images."""
    return int(re.findall(r"\d+", name)[-1])


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("jobs", nargs="*", help=f"any of {', '.join([*QUICK, *PEERS])}; or peers, or all", default=QUICK)
    found.add_argument("--repeat", type=int, default=5, help="repeats of the quick jobs; the peers run once")
    found.add_argument("--threads", type=int, default=2, help="threads of the matrix products")
    found.add_argument("--scale", type=int, nargs="*", metavar="IMAGES", help="ranks both ways of larger galleries")
    found.add_argument("--device", help="--scale: multiply by torch there (cuda, cpu), not by numpy")
    found.add_argument("--page", type=Path, help="write the lines to this Markdown file as well")
    found.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    found.add_argument("--images", type=int, default=5000, help=argparse.SUPPRESS)
    return found


def main() -> None:
    given = smoke.read(parser(), "all --images 200 --repeat 1 --scale 100 --device cpu --page {scratch}/page.md")
    if given.job:
        if given.images < 5000:  # a smoke run's files are cut, which the sizes that the protocol knows would refuse
            from itm.evaluation.published import sources

            sources.check_count = lambda *_: None
        run_job(given.job, given.images, given.repeat, given.device)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(given.threads)
    if given.smoke:
        os.environ |= small_files(smoke.scratch(), given.images)
    say(f"{os.cpu_count()} cores, {given.threads} threads, numpy {np.__version__}")
    wanted = [*QUICK, *PEERS] if "all" in given.jobs else PEERS if "peers" in given.jobs else given.jobs
    found = {name: measure(name, given.repeat if name in QUICK else 1, given.images) for name in wanted}
    if {"products", "ours"} <= set(found):
        wall, cpu = (found["ours"][key] / found["products"][key] for key in ("wall", "cpu"))
        say(f"ours: COCO 5K, 1K, CxC retrieval, ECCV in {wall:.2f}x the time of the products (cpu {cpu:.2f}x)")
    for mine, theirs in (("ours_coco", "argsort_coco"), ("ours_cxc", "argsort_cxc"), ("ours_eccv", "eccv_package")):
        if {mine, theirs} <= set(found):
            wall, cpu = (found[theirs][key] / found[mine][key] for key in ("wall", "cpu"))
            say(f"{mine}: {wall:.1f}x as fast as {theirs} (cpu {cpu:.1f}x)")
    if {"float64_reference", "ours"} <= set(found):
        expected = found["float64_reference"]["value"]
        worst = max(abs(found["ours"]["value"][key] - value) for key, value in expected.items())
        say(f"ours: {len(expected)} figures differ from those of float64 scores by at most {worst:g}")
    for images in given.scale or ():
        job = measure("scale", 1, images, given.device)
        say(
            f"  {job['wall'] / (images * images * 5) * 1e9:.2f} s wall, {job['cpu'] / (images**2 * 5) * 1e9:.2f} s cpu"
            " per 1e9 pairs"
        )
    if given.page:
        command = " ".join(["python benchmarks/metrics.py", *sys.argv[1:]])
        head = f"# Metrics: times, memory, equality\n\nAt commit {commit()} on {machine()}, by `{command}`;"
        given.page.write_text(f"{head} all in one run.\n\n```\n" + "\n".join(SAID) + "\n```\n", encoding="utf-8")


if __name__ == "__main__":
    main()
