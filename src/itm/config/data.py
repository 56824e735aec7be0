"""Parameters of the data stages: the data set, its generation or download, its cleaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from itm.config.base import Section

CaptionsKept = Literal["five", "all"]

SUBSETS = "data/subsets"
"""The fixed lists of photos that come along, which the clean stage reads beside the source files."""
FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$"
"""What the name of a source file may be: it becomes part of commands and paths."""


class DataParameters(Section):
    """Which data set runs, and the source files that the download stage must provide for it."""

    name: Literal["scenes", "flickr8k", "flickr30k", "coco", "hierarcaps", "rsicd", "rsitmd", "n24news", "folder"] = (
        Field(description="data set; one of the entries of `datasets`")
    )
    path: str = Field(
        min_length=1,
        description="with `folder` the user's photos: a folder, or a table of photos and captions; else "
        "`data/subsets`, the lists that come along",
    )
    files: list[Annotated[str, Field(pattern=FILE_NAME)]] = Field(
        min_length=1, description="source files, one download stage each; names from data/catalogue.yaml"
    )

    @model_validator(mode="after")
    def _of_this_machine(self) -> Self:
        if not self.path.isprintable() or "://" in self.path:
            raise ValueError(f"path {self.path!r} must be a folder or file of this machine, on one line")
        if self.name == "folder" and Path(self.path) == Path(SUBSETS):
            raise ValueError("path: say where your photos lie, e.g. data.path=photos/captions.csv")
        if self.name != "folder" and self.path != SUBSETS:
            raise ValueError(
                f"path is for photos of your own, and data.name is {self.name}; set it to {SUBSETS}, or take "
                "`itm preset folder`"
            )
        return self


class ScenesParameters(Section):
    """The built-in, generated and exactly annotated data set."""

    seed: int = Field(ge=0, description="seed of the generator: the same seed gives the same bytes")
    image_size: int = Field(ge=16, le=512, description="side of an image in pixels")
    train_images: int = Field(ge=8, description="images in the training split")
    dev_images: int = Field(ge=8, description="images in the dev split (model selection, tuning)")
    test_images: int = Field(ge=8, description="images in the test split (reported numbers)")
    maximum_objects: int = Field(ge=1, le=4, description="objects in a scene: 1 to this many")
    captions_per_image: int = Field(ge=4, le=8, description="captions of an image, generic to specific")
    noise: float = Field(ge=0, le=0.5, description="standard deviation of the pixel noise (1 = full range)")
    held_out_fraction: float = Field(
        ge=0, le=0.5, description="share of shape x colour combinations that occur in the test split only"
    )


class Flickr8kParameters(Section):
    """Flickr8k with its official splits and human judgements, and the HierarCaps test photos."""

    subset: Literal["all", "mini"] = Field(
        description="all: 6,000/1,000/1,000 photos; mini: the fixed list of 1,500/500/500 in data/subsets"
    )


class KarpathyParameters(Section):
    """COCO or Flickr30K with the splits of Karpathy and Fei-Fei."""

    captions: CaptionsKept = Field(
        description="captions of an evaluation image: the first five (25,000 for COCO 5K) or all (25,010)"
    )
    restval: bool = Field(description="train on the `restval` images too (COCO; all published numbers do)")
    check_protocol: bool = Field(
        description="stop unless sizes and image lists are the published ones; false only for a stand-in"
    )


class HierarcapsParameters(Section):
    """The HierarCaps photos with COCO's captions: a test split and nothing else, to evaluate on."""

    captions: CaptionsKept = Field(description="captions of a photo: COCO's first five, or all (up to seven)")
    check_protocol: bool = Field(description="stop unless the photos are the published list; false only for a stand-in")


class RemoteSensingParameters(Section):
    """RSICD or RSITMD: remote sensing images with sentences, in a JSON file of Karpathy's form."""

    captions: CaptionsKept = Field(description="captions of an evaluation image: the first five or all")
    dev_images: int = Field(
        ge=0,
        description="training images set aside as dev, by a hash of their names, where the publisher has no dev split; "
        "0 = the publisher's own",
    )
    check_protocol: bool = Field(description="stop unless sizes are the published ones; false only for a stand-in")


class N24NewsParameters(Section):
    """N24News: photos of news with one text each, in the publisher's splits."""

    text: Literal["caption", "headline", "abstract"] = Field(
        description="which text of an article belongs to its photo; articles without it are left out"
    )


class FolderParameters(Section):
    """Photos of the user's own at `data.path`; splits that no table names are drawn by a hash of the file names."""

    table: str = Field(
        description="name or pattern of the table, or of WebDataset tars, in the folder; '' = its only one"
    )
    dev: float = Field(gt=0, description="dev photos where none are named: below 1 a share of all, else their number")
    test: float = Field(gt=0, description="test photos where none are named: below 1 a share of all, else their number")


class DatasetsParameters(Section):
    """One entry a data set; only the one named by `data.name` is read."""

    scenes: ScenesParameters
    flickr8k: Flickr8kParameters
    flickr30k: KarpathyParameters
    coco: KarpathyParameters
    hierarcaps: HierarcapsParameters
    rsicd: RemoteSensingParameters
    rsitmd: RemoteSensingParameters
    n24news: N24NewsParameters
    folder: FolderParameters


class CleanParameters(Section):
    """What the clean stage rejects (training split) and only normalises (evaluation splits)."""

    maximum_words: int = Field(
        ge=8, description="training captions longer than this, or than 32 characters for each, are quarantined"
    )
    minimum_letters: int = Field(ge=1, description="training captions with fewer letters are quarantined")
    drop_repeated: bool = Field(description="quarantine a training caption that repeats another of its image")
    language: Literal["any", "english"] = Field(
        description="english: training captions that are plainly in another language are quarantined; any: none are"
    )
    train_side: int = Field(
        ge=0, description="shorter side to which larger training photos are shrunk when packed; 0 = original bytes"
    )
    strict_leaks: bool = Field(description="stop when train and evaluation splits share images (else: warn)")


class _Bounds(Section):
    low: float = Field(ge=0, le=1, description="lower quantile of the training captions' d")
    high: float = Field(ge=0, le=1, description="upper quantile of the training captions' d")


class ScoreParameters(Section):
    """The descriptiveness d(caption) and its normalised form dn (options A1-A4)."""

    kind: Literal["tfidf", "keyword_count", "expected_fit"] = Field(
        description="what d is: tfidf = sum of TF-IDF over keywords (the paper's); keyword_count; "
        "expected_fit = -ln of the share of training images that the caption is expected to fit"
    )
    term_frequency: Literal["count", "binary", "log", "length_normalised"] = Field(
        description="A1: weight of a word's count in its caption; length_normalised is an ablation"
    )
    idf: Literal["smooth", "plain"] = Field(description="A2: smooth = ln((1+N)/(1+df))+1, plain = ln(N/df)")
    document: Literal["caption", "image"] = Field(description="A2: what counts as one document for df and N")
    keywords: Literal["content", "all"] = Field(description="A3: content = all words but stop words")
    normalisation: Literal["clip", "rank", "sigmoid", "none"] = Field(
        description="A4: how d becomes dn; clip = between two training quantiles, to 0..1"
    )
    quantiles: _Bounds = Field(description="the two training quantiles of `normalisation: clip`")
    minimum_document_frequency: int = Field(
        ge=1, description="words rarer than this (typos, unseen words) get the idf of this frequency"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.quantiles.low >= self.quantiles.high:
            raise ValueError(
                f"quantiles.low ({self.quantiles.low}) must be below quantiles.high ({self.quantiles.high})"
            )
        return self
