"""params.yaml as one typed object, validated once for both runners."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from itm.config.base import Section
from itm.config.data import CleanParameters, DataParameters, DatasetsParameters, ScoreParameters
from itm.config.describe import DescribeParameters
from itm.config.losses import LossParameters
from itm.config.methods import MethodParameters, has_old_form
from itm.config.model import EmbeddingParameters, EncodeParameters, RegionsParameters, TowersParameters, TrainParameters
from itm.config.similarities import SimilarityParameters
from itm.errors import ConfigError, first_few, nearest
from itm.parse import beginning, parse_yaml

BENCHMARKS: dict[str, tuple[str, ...]] = {
    "scenes": ("retrieval", "cxc", "hierarcaps", "false_negatives", "grading"),
    "flickr8k": ("retrieval", "judgements", "hierarcaps", "grading"),
    "flickr30k": ("retrieval", "grading"),
    "coco": ("retrieval", "cxc", "hierarcaps", "grading"),
    "hierarcaps": ("retrieval", "hierarcaps"),
    "rsicd": ("retrieval", "grading"),
    "rsitmd": ("retrieval", "grading"),
    "n24news": ("retrieval", "grading"),
    "folder": ("retrieval", "grading"),
}
"""The benchmarks that each data set has ground truth for."""

BENCHMARK_NAMES = tuple(dict.fromkeys(name for available in BENCHMARKS.values() for name in available))
"""Each benchmark once."""

Logger = Literal["none", "dvclive"]

_STATE_IT = "`itm preset NAME 'methods=[...]'` states any that `itm methods` lists"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Parameters(Section):
    """Everything that params.yaml states, one field a section."""

    methods: list[str] = Field(min_length=1, description="entries of `method` to train and compare")
    seeds: list[int] = Field(min_length=1, description="training seeds; every method runs with each")
    benchmarks: list[str] = Field(min_length=1, description="benchmarks to evaluate; the data set must have them")
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="auto: a free GPU or else the CPU; cuda: stop when there is no GPU; evaluate on one that is free"
    )
    logger: Logger = Field(description="dvclive: log each epoch of a training to logs/dvclive, too; changes no result")
    data: DataParameters
    datasets: DatasetsParameters
    clean: CleanParameters
    score: ScoreParameters
    towers: TowersParameters
    regions: RegionsParameters
    describe: DescribeParameters
    embedding: EmbeddingParameters
    train: TrainParameters
    method: dict[str, MethodParameters]
    encode: EncodeParameters
    grade: GradeParameters
    evaluate: EvaluateParameters
    report: ReportParameters

    def entry(self, name: str) -> MethodParameters:
        """The entry of `method` with this name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.method:
            raise ConfigError(
                f"method: params.yaml has no entry '{name}'; {nearest(name, self.method)}; {_STATE_IT}",
                reason="unknown-method",
            )
        return self.method[name]

    def of(self, name: str) -> Parameters:
        """These parameters with what the entry of that name trains with (`recipe`) in `embedding` and `train`.

        Raises:
            ConfigError: there is no such entry.
        """
        recipe = self.entry(name).recipe
        given = {} if recipe is None else recipe.model_dump(exclude_none=True)
        width = {"dimension": given.pop("dimension")} if "dimension" in given else {}
        sections = {
            "embedding": EmbeddingParameters.model_validate({**self.embedding.model_dump(), **width}),
            "train": TrainParameters.model_validate({**self.train.model_dump(), **given}),
        }
        return self.model_copy(update=sections)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.method:
            if not _NAME.fullmatch(name):
                raise ValueError(f"method.{name}: a method's name is lower-case letters and digits joined by '-'")
        for name in self.methods:
            if name not in self.method:
                raise ValueError(
                    f"methods: '{name}' has no entry under `method`; {nearest(name, self.method)}; {_STATE_IT}"
                )
        available = BENCHMARKS[self.data.name]
        for name in self.benchmarks:
            if name not in available:
                raise ValueError(
                    f"benchmarks: data set '{self.data.name}' has no benchmark '{name}'; {nearest(name, available)}"
                )
        for key in ("methods", "seeds", "benchmarks"):
            values = getattr(self, key)
            repeated = sorted({str(v) for v in values if values.count(v) > 1})
            if repeated:
                raise ValueError(f"{key}: {len(repeated)} listed more than once ({first_few(repeated)})")
        for key, off in (("layer_decay", 1), ("gradient_checkpointing", False)):
            if self.towers.frozen and getattr(self.train, key) != off:
                raise ValueError(
                    f"train.{key} is for trained towers, and towers.frozen is true; set it to {str(off).lower()}"
                )
        for name in self.methods:
            least = self.method[name].loss.least_captions
            held = self.of(name).train.captions_per_image
            if held < least:
                raise ValueError(
                    f"method.{name} orders an image's captions, but a batch holds {held} of "
                    f"each; set train.captions_per_image to {least} or more, or its order_weight and radius_weight to 0"
                )
            dimension = self.of(name).embedding.dimension
            for key, heads in self.method[name].heads.items():
                if dimension % heads:
                    raise ValueError(
                        f"method.{name}.{key}: {heads} heads do not divide embedding.dimension ({dimension})"
                    )
            cached = self.towers.frozen or self.towers.kind == "open_clip"
            if self.method[name].needs_tokens and cached and not self.towers.tokens:
                raise ValueError(f"method.{name} compares tokens, and towers.tokens is false; set it to true")
            if self.method[name].add.words is not None and not self.method[name].needs_tokens:
                kind = self.method[name].similarity.type
                raise ValueError(f"method.{name}.add.words are tokens, and similarity '{kind}' looks at none")
            if self.method[name].add.words is not None and not self.towers.frozen:
                raise ValueError(
                    f"method.{name}.add.words are trained beside frozen towers; set towers.frozen to true, or leave "
                    "them out: the text tower is trained"
                )
        if self.regions.use and not (self.towers.frozen and self.towers.tokens):
            raise ValueError(
                "regions.use: regions are tokens beside frozen towers; set towers.frozen and towers.tokens to true"
            )
        describing = any(self.method[name].add.descriptions for name in self.methods)
        if describing and self.describe.needs_space and self.describe.space == "towers" and not self.towers.frozen:
            raise ValueError(
                "describe.space 'towers' needs the features of frozen towers, and these are trained; set it to "
                "'offline' or 'pixels'"
            )
        if min(self.seeds) < 0:
            raise ValueError(f"seeds: {min(self.seeds)} is negative")
        return self


def load(path: str | Path = "params.yaml") -> Parameters:
    """The validated parameters of a params.yaml file.

    Raises:
        ConfigError: the file is missing or not YAML; or any key is unknown (with the nearest known key),
            missing, of the wrong type or out of range. All faults are counted, and the first ones listed.
    """
    path = Path(path)
    try:
        content = beginning(path)
    except FileNotFoundError:
        above = next((folder for folder in path.absolute().parent.parents if (folder / path.name).is_file()), None)
        todo = f"run this in {above}, which has one" if above else "run `itm preset scenes` to write one"
        raise ConfigError(f"{path}: no such file; {todo}", reason="missing-file") from None
    return validate(parse_yaml(content, str(path), ConfigError), str(path))


def validate(values: Any, where: str) -> Parameters:
    """The typed parameters for the plain values of a params file; `where` names it in errors."""
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where}: expected sections with keys, found {type(values).__name__}", reason="not-a-mapping"
        )
    entries = values.get("method")
    old = [name for name, entry in (entries if isinstance(entries, dict) else {}).items() if has_old_form(entry)]
    if old:
        raise ConfigError(
            f"{where}: {len(old)} entries of `method` have an old form ({first_few(old)}): a loss has its options "
            "inside now, `loss: {type: clip, temperature: 0.07}`; `itm migrate FILE` rewrites a file",
            reason="old-form",
        )
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        lines = [_explain(fault, values)[:400] for fault in error.errors(include_url=False)]
        shown = [line for line, end in zip(lines, accumulate(map(len, lines)), strict=True) if end <= 800]
        if more := len(lines) - len(shown):
            shown.append(f"and {more} more")
        raise ConfigError(
            f"{where}: {len(lines)} invalid parameter{'s' * (len(lines) > 1)}\n  " + "\n  ".join(shown),
            reason="invalid-parameters",
        ) from None


def _explain(fault: Any, values: dict[str, Any]) -> str:
    location = list(fault["loc"])
    if location[:1] == ["method"] and location[2:3] in (["loss"], ["similarity"]):
        del location[3:4]  # where pydantic puts the discriminator's value ("ditm")
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(str(location[-1]), _known_keys(location[:-1], values))}"
    if fault["type"] == "missing":
        return f"{key}: missing; every parameter is stated in params.yaml"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    hint = ""
    if fault["type"] == "literal_error" and isinstance(fault["input"], str):
        hint = "; " + nearest(fault["input"], re.findall(r"'([^']+)'", fault["ctx"]["expected"]))
    if isinstance(fault["input"], dict):
        return f"{key}: {message}"  # options that contradict each other: the message names them
    shown = repr(fault["input"])
    return f"{key} = {shown if len(shown) < 80 else shown[:77] + '...'}: {message}{hint}"


def _known_keys(location: list[Any], values: dict[str, Any]) -> list[str]:
    """The keys allowed at a place in params.yaml."""
    model: type[BaseModel] = Parameters
    for part in location:
        values = values.get(part, {}) if isinstance(values, dict) else {}
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        kinds = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
        chosen = values.get("type") if isinstance(values, dict) else None
        for each in kinds:
            known = (
                get_args(each.model_fields["type"].annotation)
                if hasattr(each, "model_fields") and "type" in each.model_fields
                else (chosen,)
            )
            if issubclass(each, BaseModel) and chosen in known:
                model = each
    return sorted(model.model_fields)


def loss_models() -> list[type[Section]]:
    """The parameter models of all losses."""
    return list(get_args(get_args(LossParameters)[0]))


def similarity_models() -> list[type[Section]]:
    """The parameter models of all similarities."""
    return list(get_args(get_args(SimilarityParameters)[0]))


class GradeParameters(Section):
    """How similarities are calibrated, on the dev split."""

    anchor: float = Field(
        gt=0, lt=1, description="quantile of the own similarities at which a caption counts as certainly true"
    )


class EvaluateParameters(Section):
    """Protocol constants of the benchmarks."""

    recall_at: list[int] = Field(min_length=1, description="the K of R@K; RSUM is their sum over both directions")
    bootstrap_samples: int = Field(ge=1, description="samples of the CxC correlation bootstrap")
    hierarcaps_levels: int = Field(ge=2, description="levels of the HierarCaps traversal (50 in all published numbers)")
    seed: int = Field(ge=0, description="seed of the bootstrap samples")
    digits: int = Field(ge=1, le=10, description="decimals kept in the metrics files")


class ReportParameters(Section):
    """What the report shows."""

    examples: int = Field(ge=1, le=100, description="retrieval examples shown a method")
    title: str = Field(description="headline of the report")
    embed_photos: bool = Field(
        description="true: show photos of public data sets as thumbnails (report.html is kept in git; mind their "
        "licences); false: their ids and captions instead. The generated scenes are always shown"
    )
