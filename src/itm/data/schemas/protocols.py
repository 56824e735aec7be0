"""What published numbers presuppose: gallery sizes, captions an image, and the identity of the evaluation lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from itm.config.parameters import Parameters
from itm.data.columns import as_list
from itm.data.schemas.faults import Fault, fault


@dataclass(frozen=True)
class Split:
    """A split of a benchmark: images, captions (None: as many as cleaning leaves), hash of its image ids."""

    images: int
    captions: int | None = None
    captions_an_image: int | None = None
    identity: str = ""


PROTOCOLS: dict[str, dict[str, Split]] = {
    "flickr8k-all": {
        "train": Split(6000),
        "dev": Split(1000, 5000, 5, "23f7816ea9ed3313"),
        "test": Split(1000, 5000, 5, "8e044199fb589432"),
        "hierarcaps": Split(1000, identity="d8ad8ab3e70d8a1f"),
    },
    "flickr8k-mini": {
        "train": Split(1500),
        "dev": Split(500, 2500, 5, "2848be00bfbe2933"),
        "test": Split(500, 2500, 5, "8613e88b2e6a4a87"),
        "hierarcaps": Split(1000, identity="d8ad8ab3e70d8a1f"),
    },
}
"""Expected splits by protocol. Training images may be fewer, by those in quarantine."""


def protocol_name(parameters: Parameters) -> str:
    """Which protocol the parameters promise to follow, or "" for data sets without one."""
    if parameters.data.name == "flickr8k":
        return f"flickr8k-{parameters.datasets.flickr8k.subset}"
    return ""


def identity(ids: Iterable[str]) -> str:
    """A hash of a list of ids in their order: 16 hexadecimal digits of its sha256.

    >>> identity(["a", "b"]) == identity(["b", "a"])
    False
    """
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def check_protocol(
    name: str, images: pd.DataFrame, captions: pd.DataFrame, rejected_training_images: int
) -> tuple[list[Fault], dict[str, Any]]:
    """Faults against the protocol, and what the quality report says of the splits (sizes and identities)."""
    found: dict[str, Any] = {"name": name or "none"}
    faults: list[Fault] = []
    for split in images["split"].unique():
        ids = as_list(images.loc[images["split"] == split, "image_id"])
        own = captions[captions["split"] == split]
        found[split] = {"images": len(ids), "captions": len(own), "identity": identity(ids)}
    for split, wanted in PROTOCOLS.get(name, {}).items():
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
    return faults, found
