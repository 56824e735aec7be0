"""Parts of AAHR and what each recovers of what pair labels leave out, on scenes dev, where all truth is known.

An entry with the aids is trained, then its parts look at batches of dev as they do in training. For unlabelled pairs:

- soft positives (the caption is true of the image): average precision of the part's relation as a ranking of all
  unlabelled pairs, beside the share of true pairs, which is what chance gives;
- soft negatives (partly true): Spearman's correlation of the relation with the grade among the false pairs.

The relations: "embedding" (inner products of the outputs), "prototypes" (overlap of the codes), "fragments" (words with
regions, the graph's links), "graph" (inner products of the graph's outputs), "twin" (inner products of the keys that go
into the queues). Of the queues also: which share of the negatives is true, and which share of the push these get.
Last, the gradient norm of each weighted term over the encoders' weights, on one training batch.

    python benchmarks/aahr_parts.py aahr aahr-no-queue --seeds 0 1 2 [--page]

Run in a folder whose data/ the pipeline has filled with scenes (`dvc repro features`). What the parts do for the result
is measured by the pipeline: `methods: [aahr-base, aahr, aahr-no-prototypes, aahr-no-graph, aahr-no-queue]`, benchmark
`false_negatives`. --page writes docs/results/aahr-parts.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import smoke
import torch
from oracle import identities
from results_page import commit, machine
from torch import Tensor

from itm.config import Parameters, load
from itm.config.methods import MethodParameters
from itm.data.files import write_json
from itm.data.tables import read_truth
from itm.diagnosis.truth import StoredTruth
from itm.errors import ConfigError
from itm.methods.additions.graph import Graph
from itm.methods.additions.prototypes import Prototypes
from itm.methods.additions.queue import KEY, Queues
from itm.methods.build import build_method
from itm.methods.method import Context, Embedded, Method
from itm.metrics import spearman
from itm.metrics.calibration import threshold_curve
from itm.training.batches import Sampler
from itm.training.dataset import TrainingData, load_training_data
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder, Split
from itm.training.loop import Trainer, seed_everything

PAGE = Path(__file__).parents[1] / "docs/results/aahr-parts.md"
SMALLEST = "aahr --data {run}/data --params {params} --out {scratch}/parts.json --page {scratch}/page.md"
Figures = dict[str, dict[str, float]]


def trained(data: Path, parameters: Parameters, options: MethodParameters, seed: int) -> tuple[Trainer, TrainingData]:
    """A trainer after its last epoch; the parts are those of the epoch that is kept."""
    seed_everything(seed, parameters.train.threads)
    loaded = load_training_data(data / "clean", data / "scored", data / "features", parameters.towers, options, seed)
    method = build_method(options, parameters.embedding, loaded.widths)
    encoder = Encoder(method, loaded.towers, torch.device("cpu"), parameters.train.precision)
    figures, size = dev_figures(loaded.dev.owner), parameters.encode.batch_size
    engine = Trainer(encoder, loaded.train, loaded.dev, loaded.relations, parameters.train, seed, figures, size)
    outcome = engine.run()
    print(f"  kept epoch {outcome.epoch}, dev RSUM {outcome.selected:.1f}", flush=True)
    return engine, loaded


@torch.no_grad()
def measure(encoder: Encoder, dev: Split, clean: Path, images: int, captions: int) -> Figures:
    """The figures of every part over the batches of one epoch of dev."""
    method = encoder.method
    ids, caption_ids, _ = identities(clean, "dev")
    truth = StoredTruth(clean, "dev", ids, caption_ids)
    grades = read_truth(clean)["dev_grade"]
    kept: dict[str, list[Any]] = {"true": [], "grade": []}
    for rows in Sampler(dev.owner, min(images, len(dev.images)), captions, 0).epoch(0):
        # in evaluation, but with what the parts look at in training
        encoder.train(False)
        for part in (method.similarity, *method.added.values()):
            part.training = True
        image = encoder.images(dev.images.batch(rows.images, encoder.device))
        text = encoder.texts(dev.texts.batch(rows.captions, encoder.device))
        unlabelled = rows.owner[None, :] != np.arange(len(rows.images))[:, None]
        kept["true"].append(truth.of(rows.images, rows.captions)[unlabelled])
        kept["grade"].append(grades[np.ix_(truth.images[rows.images], truth.captions[rows.captions])][unlabelled])
        for name, relation in relations(method, image, text).items():
            kept.setdefault(name, []).append(relation.numpy()[unlabelled])
    values = {name: np.concatenate(parts) for name, parts in kept.items()}
    true, grade = values.pop("true"), values.pop("grade")
    found = {"chance": {"average_precision": float(true.mean()), "spearman": 0.0}}
    for name, said in values.items():
        found[name] = {
            "average_precision": float(threshold_curve(said.astype(np.float64), true).average_precision),
            "spearman": spearman(said[~true], grade[~true]),
        }
    if "twin" in values:
        queue = method.added["queue"]
        assert isinstance(queue, Queues)
        push = np.exp((values["twin"] - values["twin"].max()) / queue.options.temperature)
        found["queue"] = {"true_share": float(true.mean()), "push_on_true": float(push[true].sum() / push.sum())}
    return found


def relations(method: Method, images: Embedded, texts: Embedded) -> dict[str, Tensor]:
    """What each part says of all pairs of a batch (images, texts)."""
    found = {"embedding": method.score(images, texts)}
    for part in method.added.values():
        if isinstance(part, Prototypes):
            codes = (part.swapped.codes(each.embedding).sqrt() for each in (images, texts))
            first, second = codes
            found["prototypes"] = first @ second.T
        if isinstance(part, Graph):
            image, text = images.unit(part.options.nodes), texts.unit(part.options.nodes)
            correlations, _ = part.correlate(images, texts, image, text)
            count = len(image)
            found["fragments"] = (correlations.whole[:count, count:] + correlations.whole[count:, :count].T) / 2
            part.network.eval()
            # the fast path of evaluation does not add a bias to the attention
            torch.backends.mha.set_fastpath_enabled(False)
            first, second = part.network(image, text, correlations)
            torch.backends.mha.set_fastpath_enabled(True)
            found["graph"] = first @ second.T
        if isinstance(part, Queues):
            found["twin"] = images.extra[KEY] @ texts.extra[KEY].T
    return found


def gradient_norms(engine: Trainer, steps: int) -> dict[str, float]:
    """The norm over the similarity's weights of each weighted term's gradient, on one training batch."""
    encoder, method = engine.encoder, engine.encoder.method
    encoder.train()
    rows = next(engine.sampler.epoch(0))
    images = encoder.images(engine.train.images.batch(rows.images, encoder.device))
    texts = encoder.texts(engine.train.texts.batch(rows.captions, encoder.device))
    labels = engine.stepper.relations.labels(rows, method.requires, encoder.device)
    losses = method.losses(images, texts, labels, Context(epoch=engine.parameters.epochs, step=steps))
    weights = list(method.similarity.parameters())
    norms = {}
    for name, term in losses.terms.items():
        if not term.value.requires_grad:
            norms[name] = 0.0
            continue
        found = torch.autograd.grad(term.weight * term.value, weights, retain_graph=True, allow_unused=True)
        norms[name] = float(
            torch.cat([each.flatten() for each in found if each is not None] or [torch.zeros(1)]).norm()
        )
    return norms


def mean(runs: list[Figures]) -> Figures:
    """The means over seeds."""
    return {
        part: {key: float(np.mean([run[part][key] for run in runs])) for key in values}
        for part, values in runs[0].items()
    }


def lines(name: str, found: Figures) -> list[str]:
    """One table for an entry."""
    rows = [f"## {name}", "", "| relation | soft positives: AP | soft negatives: Spearman |", "|---|---|---|"]
    for part, values in found.items():
        if "spearman" in values:
            rows.append(f"| {part} | {values['average_precision']:.3f} | {values['spearman']:.3f} |")
    if "queue" in found:
        queue = found["queue"]
        rows += [
            "",
            f"Of the pairs that the queue would take for negatives {queue['true_share']:.1%} are true; they get "
            f"{queue['push_on_true']:.1%} of its push.",
        ]
    norms = ", ".join(f"{term} {value:.3g}" for term, value in found["gradient_norms"].items())
    return [*rows, "", f"Gradient norms of the weighted terms after training: {norms}.", ""]


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("methods", nargs="*", default=["aahr"])
    found.add_argument("--seeds", nargs="*", type=int, default=[0])
    found.add_argument("--data", type=Path, default=Path("data"))
    found.add_argument("--params", type=Path, default=Path("params.yaml"))
    found.add_argument("--out", type=Path, help="write all figures as JSON here")
    found.add_argument("--page", type=Path, nargs="?", const=PAGE, help="write the page, there if a file is named")
    return found


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    try:
        parameters = load(given.params)
        entries = {name: parameters.entry(name) for name in given.methods}
    except ConfigError as error:
        parser().error(str(error))
    train, found = parameters.train, {}
    for name, options in entries.items():
        runs = []
        for seed in given.seeds:
            print(f"{name} seed {seed}", flush=True)
            engine, loaded = trained(given.data, parameters, options, seed)
            norms = gradient_norms(engine, engine.steps)
            clean = given.data / "clean"
            figures = measure(engine.encoder, loaded.dev, clean, train.batch_images, train.captions_per_image)
            runs.append(figures | {"gradient_norms": norms})
        found[name] = mean(runs)
        print("\n".join(lines(name, found[name])), flush=True)
    if given.out:
        write_json(given.out, found)
    if given.page:
        head = [
            "<!-- Written by benchmarks/aahr_parts.py. Do not edit. -->",
            "# What AAHR's parts know of unlabelled pairs",
            "",
            "Scenes, dev split, pairs within batches as in training. Soft positives: unlabelled pairs whose caption is "
            "true of the image; average precision of a part's relation as a ranking of all unlabelled pairs. Soft "
            "negatives: partly true pairs; Spearman's correlation of the relation with the grade among false pairs.",
            "",
            f"Made at commit {commit()} on {machine()}, seeds {', '.join(map(str, given.seeds))}, by "
            f"`python benchmarks/aahr_parts.py {' '.join(given.methods)} --seeds {' '.join(map(str, given.seeds))} "
            "--page`.",
            "",
        ]
        text = "\n".join([*head, *(line for name in found for line in lines(name, found[name]))])
        given.page.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
