"""Conditions of published numbers: gallery sizes, captions an image, identity of the evaluation lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from itm.config.data import HierarcapsParameters, KarpathyParameters, RemoteSensingParameters
from itm.config.parameters import Parameters
from itm.data.schemas.rules import Fault, fault
from itm.data.tables import as_list


@dataclass(frozen=True)
class Split:
    """A split of a benchmark: images, captions (None: as many as cleaning leaves), hashes of its ids."""

    images: int
    captions: int | None = None
    captions_an_image: int | None = None
    identity: str = ""
    caption_identity: str = ""


_HIERARCAPS = "d8ad8ab3e70d8a1f"
_WITHOUT_RESTVAL = 82783
RATINGS = {
    "sts_test.csv": 44045,
    "sis_test.csv": 46719,
    "sits_test.csv": 44833,
    "sts_val.csv": 44009,
    "sis_val.csv": 42767,
    "sits_val.csv": 44722,
}
"""Rows of the files of Crisscrossed Captions."""
JUDGEMENTS = {"all": {"expert": 17466, "crowdflower": 47830}, "mini": {"expert": 4440, "crowdflower": 11855}}
"""Flickr8k's judgements by subset; three of an expert pair. Kaggle's copy has none."""

PROTOCOLS: dict[str, dict[str, Split]] = {
    "flickr8k-all": {
        "train": Split(6000),
        "dev": Split(1000, 5000, 5, "23f7816ea9ed3313"),
        "test": Split(1000, 5000, 5, "8e044199fb589432"),
        "hierarcaps": Split(1000, identity=_HIERARCAPS),
    },
    "flickr8k-mini": {
        "train": Split(1500),
        "dev": Split(500, 2500, 5, "2848be00bfbe2933"),
        "test": Split(500, 2500, 5, "8613e88b2e6a4a87"),
        "hierarcaps": Split(1000, identity=_HIERARCAPS),
    },
    "flickr30k-five": {"train": Split(29000), "dev": Split(1014, 5070, 5), "test": Split(1000, 5000, 5)},
    "flickr30k-all": {"train": Split(29000), "dev": Split(1014), "test": Split(1000)},
    "coco-five": {
        "train": Split(113287),
        "dev": Split(5000, 25000, 5),
        "test": Split(5000, 25000, 5, "7f1abc426ca870c8", "a1eb41377ccbafb7"),
        "hierarcaps": Split(1000, identity=_HIERARCAPS),
    },
    "coco-all": {
        "train": Split(113287),
        "dev": Split(5000),
        "test": Split(5000, 25010, identity="7f1abc426ca870c8"),
        "hierarcaps": Split(1000, identity=_HIERARCAPS),
    },
    "hierarcaps-five": {"test": Split(1000, 5000, 5, _HIERARCAPS)},
    "hierarcaps-all": {"test": Split(1000, identity=_HIERARCAPS)},
    "rsicd-five": {"train": Split(8734), "dev": Split(1094, 5470, 5), "test": Split(1093, 5465, 5)},
    "rsicd-all": {"train": Split(8734), "dev": Split(1094), "test": Split(1093)},
    "rsitmd-five": {"train": Split(3435), "dev": Split(856, 4280, 5), "test": Split(452, 2260, 5)},
    "rsitmd-all": {"train": Split(3435), "dev": Split(856), "test": Split(452)},
}
"""Expected splits by protocol. Training images may be fewer, by those in quarantine."""


def protocol_name(parameters: Parameters) -> str:
    """Which protocol the parameters promise to follow, or "" for data sets without one."""
    name = parameters.data.name
    if name == "flickr8k":
        return f"flickr8k-{parameters.datasets.flickr8k.subset}"
    options = getattr(parameters.datasets, name)
    listed = KarpathyParameters | HierarcapsParameters | RemoteSensingParameters
    if isinstance(options, listed) and options.check_protocol:
        return f"{name}-{options.captions}"
    return ""


def expected_splits(parameters: Parameters) -> dict[str, Split]:
    """The splits of the protocol that the parameters name; empty without one.

    Without the `restval` images COCO trains on fewer; benchmarks whose files are not listed are not expected.
    """
    splits = dict(PROTOCOLS.get(protocol_name(parameters), {}))
    if parameters.data.name == "coco" and splits:
        if not parameters.datasets.coco.restval:
            splits["train"] = Split(_WITHOUT_RESTVAL)
        if "hierarcaps.csv" not in parameters.data.files:
            del splits["hierarcaps"]
    return splits


def check_ratings(parameters: Parameters, ratings: pd.DataFrame) -> list[Fault]:
    """Faults against the numbers of ratings that the protocol's files hold."""
    name = protocol_name(parameters)
    wanted: dict[str, int] = {}
    if name.startswith("coco"):
        for file in RATINGS.keys() & set(parameters.data.files):
            wanted[file.partition("_")[0]] = wanted.get(file.partition("_")[0], 0) + RATINGS[file]
    elif name.startswith("flickr8k") and len(ratings):
        wanted = JUDGEMENTS[parameters.datasets.flickr8k.subset]
    faults: list[Fault] = []
    for kind, number in sorted(wanted.items()):
        found = int((ratings["kind"] == kind).sum())
        if found != number:
            faults += fault("ratings", "kind", f"{name}: {found} {kind} ratings instead of {number}", "size", ["all"])
    return faults


def identity(ids: Iterable[str]) -> str:
    """A hash of a list of ids in their order: 16 hexadecimal digits of its sha256.

    >>> identity(["a", "b"]) == identity(["b", "a"])
    False
    """
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def check_protocol(
    parameters: Parameters, images: pd.DataFrame, captions: pd.DataFrame, rejected_training_images: int
) -> tuple[list[Fault], dict[str, Any]]:
    """Faults against the protocol, and what the quality report says of the splits (sizes and identities)."""
    name = protocol_name(parameters)
    found: dict[str, Any] = {"name": name or "none"}
    faults: list[Fault] = []
    for split in images["split"].unique():
        ids = as_list(images.loc[images["split"] == split, "image_id"])
        own = captions[captions["split"] == split]
        found[split] = {"images": len(ids), "captions": len(own), "identity": identity(ids)}
    for split, wanted in expected_splits(parameters).items():
        ids = as_list(images.loc[images["split"] == split, "image_id"])
        own = captions[captions["split"] == split]
        missing = wanted.images - len(ids) - (rejected_training_images if split == "train" else 0)
        if missing:
            faults += fault("images", split, f"{name}: {len(ids)} images instead of {wanted.images}", "size", ["all"])
        if wanted.captions is not None and len(own) != wanted.captions:
            faults += fault(
                "captions", split, f"{name}: {len(own)} captions instead of {wanted.captions}", "size", ["all"]
            )
        if wanted.captions_an_image is not None:
            counts = own.groupby("image_id").size()
            odd = [f"{image}: {n}" for image, n in counts.items() if n != wanted.captions_an_image]
            rule = f"{name}: every {split} image has {wanted.captions_an_image} captions"
            faults += fault("captions", "image_id", rule, "count", odd)
        if wanted.identity and identity(ids) != wanted.identity:
            rule = (
                f"{name}: the {split} images are not the published list ({identity(ids)} instead of {wanted.identity})"
            )
            faults += fault("images", split, rule, "identity", ["all"])
        named = identity(str(caption) for caption in own["caption_id"])
        if wanted.caption_identity and named != wanted.caption_identity:
            rule = f"{name}: the {split} captions are not the published list"
            rule += f" ({named} instead of {wanted.caption_identity})"
            faults += fault("captions", split, rule, "identity", ["all"])
    return faults, found
