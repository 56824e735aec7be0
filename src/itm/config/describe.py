"""Parameters of descriptions: their writers, and the encoder that turns them into vectors."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from itm.config.base import Section

ASKING = ("mllm", "openai")
"""Captioners that show each image to a model."""
_REVISION = r"^([A-Za-z0-9][A-Za-z0-9._/-]*)?$"


def runs_here(server: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return urlsplit(server).hostname in ("localhost", "127.0.0.1", "::1")
    except ValueError:  # no address: who asks there is told so
        return False


def _private(server: str) -> bool:
    """Whether nobody between here and a server can read what is sent to it."""
    found = urlsplit(server)
    return found.scheme == "https" or (found.scheme == "http" and runs_here(server) and not found.username)


class DescribeParameters(Section):
    """Descriptions of images, and their vectors, for the methods that add `descriptions`; others need none of it."""

    captioner: Literal["file", "mllm", "openai", "retrieved", "tags", "none"] = Field(
        description="file: a descriptions file; mllm: a vision-language model of Hugging Face, run here; openai: any "
        "server with the OpenAI interface; retrieved: training captions nearest to the image; tags: its likeliest "
        "words; none: no image is described (control)"
    )
    per_image: int = Field(ge=1, le=16, description="descriptions of an image; more than one needs a temperature")
    missing: Literal["refuse", "zero"] = Field(
        description="an image without a description: stop, or go on with its own embedding"
    )
    file: str = Field(description="file: path of a descriptions.jsonl")
    model: str = Field(description="mllm: name or folder of the model; openai: the server's name for it")
    model_revision: str = Field(
        pattern=_REVISION,
        description="mllm: commit, tag or branch of a model of the hub (a commit alone never changes); '' = main",
    )
    server: str = Field(description="openai: address up to /v1, e.g. http://localhost:8000/v1")
    api_key_variable: str = Field(
        pattern=r"^([A-Z][A-Z0-9_]*_API_KEY)?$",
        description="openai: environment variable that holds the key, one that ends in _API_KEY; '' = no key",
    )
    prompt: str = Field(
        description="mllm, openai: what the model is asked; {captions} stands for the captions of `condition`"
    )
    condition: Literal["none", "retrieved", "paper"] = Field(
        description="mllm, openai: captions in the prompt: none; retrieved ones; or the image's own in training and, "
        "elsewhere, one that the model wrote in a first pass (as published: training sees the truth)"
    )
    first_prompt: str = Field(description="condition paper: what the model is asked in the first pass")
    maximum_tokens: int = Field(ge=8, description="mllm, openai: longest answer in tokens")
    temperature: float = Field(ge=0, description="mllm, openai: sampling temperature; 0 = the likeliest answer")
    batch_size: int = Field(ge=1, description="mllm: images in a batch")
    concurrency: int = Field(ge=1, le=256, description="openai: requests at the same time")
    attempts: int = Field(ge=1, description="openai: attempts for an image, with growing pauses")
    timeout: float = Field(gt=0, description="openai: seconds until a request is given up")
    price_input: float = Field(ge=0, description="openai: price of a million tokens read, for the cost report")
    price_output: float = Field(ge=0, description="openai: price of a million tokens written")
    space: Literal["towers", "offline", "pixels"] = Field(
        description="retrieved, tags: what an image is known by: features of the frozen towers, EfficientNet-Lite0, "
        "or colours on a grid"
    )
    captions: int = Field(ge=1, description="retrieved: captions joined into a description; tags: words of one")
    ridge: float = Field(gt=0, description="retrieved, tags: regularisation of the map from images to texts")
    folds: int = Field(ge=2, description="retrieved, tags: parts of the training images; each is described by the rest")
    encoder: Literal["minilm", "open_clip", "hub", "tfidf", "file"] = Field(
        description="what makes vectors of descriptions and captions; tfidf = TF-IDF and truncated SVD fitted on "
        "training captions; file = vectors beside the descriptions file"
    )
    encoder_model: str = Field(
        description="hub: name or folder of a sentence encoder, e.g. BAAI/bge-large-en-v1.5; open_clip: model name"
    )
    encoder_revision: str = Field(
        pattern=_REVISION, description="hub: commit, tag or branch, as `model_revision`; '' = main"
    )
    encoder_weights: str = Field(description="open_clip: pretrained tag or a local file; '' = random")
    encoder_pooling: Literal["mean", "cls"] = Field(description="hub: mean of the tokens, or the first (BGE)")
    encoder_length: int = Field(ge=8, description="minilm, hub: tokens of a text that are read")
    encoder_width: int = Field(ge=2, description="tfidf: width of the vectors")
    centre: bool = Field(
        description="subtract the mean of the training vectors, of descriptions and captions each: encoders that are "
        "used as they come give similar vectors to all texts"
    )

    @property
    def needs_space(self) -> bool:
        """Whether images are placed among training captions."""
        return self.captioner in ("retrieved", "tags") or (self.captioner in ASKING and self.condition == "retrieved")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.api_key_variable and not _private(self.server):
            raise ValueError(
                f"describe.server: a key goes along (api_key_variable), so the address must begin with https://, "
                f"unless the server runs on this machine; it is '{self.server}'"
            )
        needed = {"file": ("file",), "mllm": ("model", "prompt"), "openai": ("model", "server", "prompt")}
        for key in needed.get(self.captioner, ()):
            if not getattr(self, key):
                raise ValueError(f"captioner '{self.captioner}' needs describe.{key}")
        if self.captioner in ASKING:
            if self.per_image > 1 and self.temperature == 0:
                raise ValueError("per_image above 1 with temperature 0 would ask for the same description again")
            if self.condition != "none" and "{captions}" not in self.prompt:
                raise ValueError(f"condition '{self.condition}' gives captions, but the prompt has no {{captions}}")
            if self.condition == "none" and "{captions}" in self.prompt:
                raise ValueError("the prompt has {captions}, but condition 'none' gives none")
            if self.condition == "paper" and not self.first_prompt:
                raise ValueError("condition 'paper' needs first_prompt, which asks for the caption of a first pass")
        if self.captioner == "none" and self.missing == "refuse":
            raise ValueError("captioner 'none' describes nothing: set missing to 'zero'")
        if self.encoder in ("hub", "open_clip") and not self.encoder_model:
            raise ValueError(f"encoder '{self.encoder}' needs describe.encoder_model")
        if self.encoder == "file" and self.captioner != "file":
            raise ValueError("encoder 'file' reads the vectors beside a descriptions file: set captioner to 'file'")
        return self


class DescriptionsParameters(Section):
    """Descriptions as further knowledge of the images (VSD), and fixed prototypes of them."""

    fusion: Literal["sum", "gate", "only"] = Field(
        description="how an embedding takes in its description's vector: sum = added with `weight`; gate = a trained "
        "share of each; only = replaced by it (what the sentence encoder alone can do: train nothing but a temperature)"
    )
    weight: float = Field(gt=0, description="sum: length of the description's vector beside the unit embedding")
    captions: bool = Field(description="true: texts take in their own vectors of the same sentence encoder")
    several: Literal["sampled", "mean"] = Field(
        description="an image with several descriptions: one at random in training and the first elsewhere, or the mean"
    )
    prototype_weight: float = Field(ge=0, description="weight of the swapped prediction of prototypes; 0 = off")
    prototypes: int = Field(
        ge=0, description="clusters of the training descriptions; 0 = one for 32 training images that have any"
    )
    prototype_seed: int = Field(ge=0, description="seed of the clustering, the same for all training seeds")
    epsilon: float = Field(gt=0, description="softness of the prototypes' codes (Sinkhorn)")
    iterations: int = Field(ge=1, description="iterations of Sinkhorn")
    prototype_temperature: float = Field(gt=0, description="temperature of the prediction of codes")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.fusion == "only" and not self.captions:
            raise ValueError("fusion 'only' compares the vectors of descriptions and captions: set captions to true")
        if self.fusion == "only" and self.prototype_weight:
            raise ValueError("fusion 'only' trains no embedding: set prototype_weight to 0")
        return self
