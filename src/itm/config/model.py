"""Parameters of the towers, the embedding heads, the training loop and encoding."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from itm.config.base import Section

SelectBy = Literal["rsum", "last"]
Backend = Literal["torch", "torch-bfloat16", "onnxruntime"]
"""Who computes frozen towers."""


class TowersParameters(Section):
    """The image and text encoders below the embedding heads."""

    kind: Literal["scratch", "offline", "open_clip"] = Field(
        description="scratch: small towers, random start; offline: EfficientNet-Lite0 + MiniLM from packages; "
        "open_clip: any open_clip model"
    )
    frozen: bool = Field(description="true: towers are not trained and their features are computed once and cached")
    backend: Backend = Field(
        description="who computes frozen towers: torch; torch-bfloat16 (features differ by a hundredth of their length "
        "or more; faster where the CPU or GPU has bfloat16); onnxruntime (on the CPU, faster; they differ in their "
        "last digits). Training is torch's alone"
    )
    image_size: int = Field(ge=16, le=1024, description="side in pixels of the images given to the image tower")
    context_length: int = Field(ge=4, le=512, description="tokens of a caption given to the text tower")
    tokens: bool = Field(
        description="open_clip and frozen towers: give tokens to the methods, and cache those of frozen towers (other "
        "towers always give them)"
    )
    token_grid: int = Field(
        ge=0, le=64, description="cells a side that the image tower's last map is averaged to as tokens; 0 = as it is"
    )
    image_width: int = Field(ge=8, le=1024, description="scratch: channels of the image tower's first stage")
    text_width: int = Field(ge=8, le=4096, description="scratch: width of the text tower")
    text_layers: int = Field(ge=1, le=64, description="scratch: transformer layers of the text tower")
    text_heads: int = Field(ge=1, description="scratch: attention heads of the text tower")
    open_clip_model: str = Field(description="open_clip: model name, e.g. ViT-B-32")
    open_clip_weights: str = Field(
        description="open_clip: pretrained tag (fetched from a hub) or a local file; '' = random"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.text_width % self.text_heads:
            raise ValueError(f"text_width ({self.text_width}) must be a multiple of text_heads ({self.text_heads})")
        if self.kind == "scratch" and self.frozen:
            raise ValueError(
                "frozen towers need pretrained weights: use kind 'offline' or 'open_clip', or frozen: false"
            )
        if self.backend != "torch" and not self.frozen:
            raise ValueError(f"backend '{self.backend}' is for frozen towers only: set frozen: true, or backend: torch")
        return self


class EmbeddingParameters(Section):
    """The heads that map tower features to the shared space."""

    dimension: int = Field(ge=2, description="dimension of the shared embedding space")
    layers: int = Field(
        ge=0,
        le=4,
        description="linear layers of a head (1 = a linear map; 0 = none: features are as wide as dimension)",
    )
    hidden: int = Field(ge=2, description="width of the hidden layers of a head with more than one layer")
    dropout: float = Field(ge=0, lt=1, description="dropout on a head's input during training")


class TrainParameters(Section):
    """The training loop, the same for every method."""

    epoch: Literal["images", "captions"] = Field(
        description="what an epoch passes over once: images, or captions (as code of VSE++ and its successors: with "
        "five captions an image five times the steps)"
    )
    epochs: int = Field(ge=1, description="passes over the training images or captions")
    batch_images: int = Field(ge=2, description="distinct images in a batch")
    captions_per_image: int = Field(ge=1, description="captions of each image in a batch")
    chunk_images: int = Field(
        ge=0, description="images encoded at a time, to save memory; gradients are those of the whole batch; 0 = all"
    )
    learning_rate: float = Field(gt=0, description="peak learning rate (AdamW)")
    tower_learning_rate: float = Field(gt=0, description="peak learning rate of trainable pretrained towers")
    weight_decay: float = Field(ge=0, description="AdamW weight decay")
    weight_decay_on: Literal["matrices", "all"] = Field(
        description="what decays: matrices, or biases, norms and temperatures, too (as published code that gives "
        "parameters no groups)"
    )
    warmup_fraction: float = Field(
        ge=0,
        lt=1,
        description="share of the steps with a linear warm-up; cosine after it, unless decay_epochs says other",
    )
    decay_epochs: list[int] = Field(
        description="epochs, counted from 0, from which on the learning rate is a tenth of before; [] = a cosine to 0"
    )
    layer_decay: float = Field(
        gt=0, le=1, description="factor on the learning rate for each layer of a trained tower further down; 1 = none"
    )
    gradient_clip: float = Field(ge=0, description="largest gradient norm; 0 = no clipping")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        description="autocast type of the forward pass; float16 (with a scaled loss) needs a GPU"
    )
    gradient_checkpointing: bool = Field(
        description="true: trained towers keep their layers' inputs only and compute the rest again (less memory)"
    )
    compile: bool = Field(description="true: compile towers and heads (torch.compile); sums may differ in their digits")
    weight_average: float = Field(
        ge=0, lt=1, description="decay of the moving average of the weights that is evaluated and kept; 0 = none"
    )
    select_by: SelectBy = Field(description="which epoch is kept: best dev RSUM, or the last")
    patience: int = Field(ge=0, description="epochs without a better dev RSUM after which training stops; 0 = never")
    crop_area: float = Field(
        gt=0, le=1, description="smallest share of a photo that a random training crop covers; 1 = the centre square"
    )
    flip: bool = Field(description="true: mirror half of the random crops; not where captions tell left from right")
    image_memory: float = Field(
        ge=0, description="GiB of decoded images that are kept in memory; larger splits are decoded batch by batch"
    )
    workers: int = Field(ge=1, description="threads that decode images ahead of training; change no result")
    threads: int = Field(ge=1, description="CPU threads of training and encoding; part of the bit-exact protocol")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.patience and self.select_by == "last":
            raise ValueError("patience stops by dev RSUM and keeps the best epoch: set select_by: rsum, or patience: 0")
        if self.decay_epochs != sorted(set(self.decay_epochs)) or min(self.decay_epochs, default=1) < 1:
            raise ValueError(f"decay_epochs: {self.decay_epochs} are not rising numbers from 1 on")
        if self.flip and self.crop_area == 1:
            raise ValueError("flip mirrors random crops, and crop_area: 1 asks for none: set crop_area below 1")
        return self


class EncodeParameters(Section):
    """How the evaluation images and texts are embedded."""

    batch_size: int = Field(
        ge=1, description="images or texts in a forward pass (frozen towers on a CPU: at most 16 images)"
    )
    shortlist: int = Field(
        ge=0,
        description="pairwise methods: candidates of each query, found by inner products, that are scored exactly; "
        "0 = all pairs",
    )
    split: Literal["dev", "test"] = Field(description="the split that is encoded and evaluated; tune on dev only")


class RegionsParameters(Section):
    """Region features of the images (BUTD), computed by others and put into data/regions; see the page there."""

    use: bool = Field(
        description="true: images' tokens are the regions in data/regions; needs frozen towers and tokens"
    )
    pooled: Literal["towers", "mean"] = Field(
        description="what methods see of a whole image: the towers' pooled feature, or the mean of its regions"
    )
