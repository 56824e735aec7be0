"""The published figure that each method of a run is to be compared with, and where its training still differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from itm.config import Parameters
from itm.config.parameters import validate
from itm.errors import ConfigError
from itm.evaluation.published.quoted import QUOTED, Quoted
from itm.parse import flatten
from itm.runs.plan.lines import Line

REGIONS = {
    "esl-token": "ESL-H, BUTD regions + BERT",
    "esl-token-adaptive": "ESL-A, BUTD regions + BERT",
    "vse": "VSE++, BUTD regions + BERT",
    "vse-inf": "VSE-infinity (GPO), BUTD regions + BERT",
    "vse-inf-vsd": "VSD on GPO, BUTD regions + BERT",
    "vsd-faithful": "VSD on GPO, BUTD regions + BERT",
    "aahr": "AAHR, BUTD regions + BERT + CLIP ViT-B/32",
    "aahr-faithful": "AAHR, BUTD regions + BERT + CLIP ViT-B/32",
}
FINE_TUNED = {"clip": "CLIP ViT-B/32, fine-tuned", "vsd": "VSD on CLIP ViT-B/32, fine-tuned"}

FRAME: dict[str, Any] = {
    "train.epoch": "captions",
    "train.epochs": 25,
    "train.batch_images": 128,
    "train.captions_per_image": 1,
    "train.learning_rate": 0.0005,
    "train.weight_decay": 0.0001,
    "train.weight_decay_on": "all",
    "train.warmup_fraction": 0.0,
    "train.decay_epochs": [15],
    "train.gradient_clip": 2.0,
    "train.precision": "float32",
    "embedding.dimension": 1024,
    "add.words.model": "bert-base-uncased",
    "add.words.rate": 0.1,
    "similarity.norm": "batch_norm",
    "loss.reduction": "sum",
}
"""What the code of VSE-infinity has on regions and BERT; the others' differs by what follows."""

_ESL = {"embedding.dimension": 512, "train.epochs": 30, "similarity.text_chain": "raw"}
_VSD = {
    "add.words.rate": 0.05,
    "loss.type": "distance_weighted",
    "train.select_by": "last",
    "describe.condition": "paper",
    "add.descriptions.prototypes": 896,
    "loss.cutoff": 1.7,
}
_AAHR = {
    "train.epochs": 40,
    "train.decay_epochs": [15, 25],
    "add.prototypes.count": 384,
    "add.graph.bias_weight": 1.0,
    "add.queue.weight": 2.0,
    "loss.cutoff": 1.7,
    "similarity.normalise": False,
}
OWN = {
    "esl-token": _ESL,
    "esl-token-adaptive": _ESL,
    "vse": {},
    "vse-inf": {},
    "vse-inf-vsd": _VSD,
    "vsd-faithful": _VSD,
    "aahr": _AAHR,
    "aahr-faithful": _AAHR,
}
ON_COCO: dict[str, dict[str, Any]] = {
    "ESL": {"train.epochs": 20, "train.decay_epochs": [10]},
    "VSD": {"train.batch_images": 256, "loss.cutoff": 1.9, "add.descriptions.prototypes": 2560},
    "AAHR": {
        "train.batch_images": 256,
        "loss.cutoff": 1.9,
        "add.prototypes.count": 768,
        "add.graph.bias_weight": 1.5,
    },
}
ALWAYS = (
    "padding takes part in nothing here, and in batch statistics, attention and means in most of the published code; "
    "the epoch is chosen on dev here, on test in some of it; captions of an image never meet in a batch here"
)


def setting(parameters: Parameters) -> str:
    """Which published setting the parameters follow: "regions", "fine-tuned", or "" for none."""
    towers = parameters.towers
    if parameters.data.name not in ("coco", "flickr30k"):
        return ""
    if parameters.regions.use:
        return "regions"
    return "fine-tuned" if towers.open_clip_model == "ViT-B-32" and not towers.frozen else ""


def expected(parameters: Parameters) -> dict[str, Quoted | None]:
    """The quoted row of each method of the run; None where nothing is published for it in this setting.

    DITM has none in any: its paper's tables were never available.
    """
    labels = {"regions": REGIONS, "fine-tuned": FINE_TUNED}.get(setting(parameters), {})
    rows = {row.model: row for row in QUOTED if row.benchmark == parameters.data.name}
    return {method: rows.get(labels.get(method, "")) for method in parameters.methods}


RETRIEVAL = {"coco": "coco_5k", "flickr30k": "flickr30k"}
"""How quoted rows call a data set's whole test split."""


def published_of(stated: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By method the published figures, under the keys of its metrics, for what a params.yaml says.

    Only of methods in their paper's setting, on the whole test split (`check_protocol` saw to it).
    """
    try:
        parameters = validate(dict(stated), "params.yaml")
    except ConfigError:  # of another version
        return {}
    if not setting(parameters) or parameters.encode.split != "test":
        return {}
    name = parameters.data.name
    options = getattr(parameters.datasets, name)
    if not options.check_protocol or options.captions != "five":
        return {}
    quoted, ours = f"{RETRIEVAL[name]}/", "retrieval/"
    return {
        method: {key.replace(quoted, ours): value for key, value in row.values.items() if key.startswith(quoted)}
        for method, row in expected(parameters).items()
        if row is not None
    }


def differences(parameters: Parameters, method: str) -> list[str]:
    """What a method of a run on regions trains with, where the published code has something else."""
    own = parameters.of(method)
    stated = flatten({"train": own.train.model_dump(), "embedding": own.embedding.model_dump()})
    stated |= flatten(own.method[method].model_dump(exclude_none=True))
    stated |= {"describe.condition": own.describe.condition if own.describe.captioner != "retrieved" else "retrieved"}
    wanted = FRAME | OWN[method]
    if parameters.data.name == "coco":
        paper = REGIONS[method].split(",")[0].split(" ")[0].split("-")[0]
        wanted |= ON_COCO.get(paper, {})
    return [
        f"{key} {stated.get(key, 'absent')}, there {value}" for key, value in wanted.items() if stated.get(key) != value
    ]


def published(parameters: Parameters) -> Iterator[Line]:
    """A line a figure, and what differs of how it came about."""
    kind = setting(parameters)
    if not kind:
        return
    for method, row in expected(parameters).items():
        if row is None:
            yield Line(method, None, "nothing is published for this method in this setting", "rsum")
            continue
        rsums = {key: value for key, value in row.values.items() if key.endswith("/rsum")}
        for key, value in rsums.items():
            yield Line(method, value, f"{key.split('/')[0]}, {row.model}; quoted from {row.source}", "rsum")
        if row.under:
            yield Line(f"{method}, published", None, row.under, "")
        if kind == "regions" and (found := differences(parameters, method)):
            yield Line(f"{method}, differs", None, "; ".join(found), "")
    note = ALWAYS if kind == "regions" else "the recipe behind the quoted figures is not published"
    yield Line("note", None, f"not the same conditions: {note}", "")
