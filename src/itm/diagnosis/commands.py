"""`itm diagnose`: the pairs of a batch that a method relaxes, and the false negatives among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from itm.diagnosis.pairs import Diagnosis, Pair
    from itm.diagnosis.truth import Truth

diagnose_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@diagnose_app.command()
def diagnose(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD...", help="Entries of `method` in params.yaml.")],
    split: Annotated[Literal["train", "dev", "test"], typer.Option(help="Where the batches come from.")] = "dev",
    seed: Annotated[int, typer.Option(help="Training seed: it decides the batches and the controls.", min=0)] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the split.", min=1)] = 1,
    examples: Annotated[int, typer.Option(help="Pairs of each kind to print.", min=0)] = 5,
    keep: Annotated[int, typer.Option(help="Pairs of each kind to write.", min=0)] = 200,
    out: Annotated[Path | None, typer.Option(help="Write everything as JSON here.")] = None,
    clean: Annotated[Path, typer.Option(help="Folder of the clean tables.")] = Path("data/clean"),
    scored: Annotated[Path, typer.Option(help="Folder of the scored captions.")] = Path("data/scored"),
    scenes: Annotated[
        Path, typer.Option(help="Logic of the scenes: the truth of the train split, where it is not stored.")
    ] = Path("data/raw/scenes/scenes.jsonl"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Show which pairs a method relaxes, and on scenes the precision and recall of that against the truth.

    Nothing is trained: containment and descriptiveness are known beforehand.
    """
    from itm.config import load
    from itm.config.losses import DitmParameters
    from itm.console import console
    from itm.data.files import check_outputs, write_json
    from itm.diagnosis.pairs import diagnose as run
    from itm.errors import ConfigError
    from itm.training.dataset import describe_split

    check_outputs(out)
    parameters = load(params)
    found: list[Diagnosis] = []
    for name in methods:
        method = parameters.entry(name)
        options = method.loss
        if not isinstance(options, DitmParameters):
            raise ConfigError(
                f"method.{name} has the loss '{options.type}', which relaxes no pair; name one with the loss 'ditm'",
                reason="no-pairs",
            )
        data = describe_split(clean, scored, method, seed, split)
        ids = list(data.images["image_id"]), data.captions["caption_id"].to_numpy(), list(data.captions["image_id"])
        truth = _truth(split, clean, scenes if parameters.data.name == "scenes" else None, *ids)
        train = parameters.of(name).train
        found.append(
            run(
                name,
                options,
                split,
                data,
                truth,
                batch_images=train.batch_images,
                captions_per_image=train.captions_per_image,
                seed=seed,
                epochs=epochs,
                keep=keep,
            )
        )
    printed = console()
    printed.print(_summary(found))
    for diagnosis in found:
        if diagnosis.levels:
            printed.print(_levels(diagnosis))
        if examples:
            printed.print(_examples(diagnosis, examples))
    if out is not None:
        write_json(out, [diagnosis.to_json() for diagnosis in found])


def _truth(
    split: str, clean: Path, scenes: Path | None, image_ids: list[str], caption_ids: object, owners: list[str]
) -> Truth | None:
    """The relation of a split, or None where the data set has none or its file is not here."""
    import numpy as np

    from itm.diagnosis.truth import LogicTruth, StoredTruth

    if scenes is None:
        return None
    captions = np.asarray(caption_ids, np.int64)
    if split != "train":
        return StoredTruth(clean, split, image_ids, captions)
    return LogicTruth(scenes, image_ids, captions, owners) if scenes.is_file() else None


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _summary(found: list[Diagnosis]) -> Table:
    from itm.console import table

    rows = []
    for each in found:
        true = None if each.true is None else each.true / max(each.pairs, 1)
        shares = (each.relaxed / max(each.pairs, 1), true, each.precision, each.recall, each.average_precision)
        rows.append((each.method, each.split, f"{each.pairs:,}", *map(_share, shares)))
    return table(
        ("method", "split", "pairs", "relaxed", "true", "precision", "recall", "AP"),
        rows,
        caption="pairs: unlabelled, in batches; relaxed and true: shares of them; AP: of how far they are relaxed",
    )


def _levels(found: Diagnosis) -> Table:
    from itm.console import table

    rows = []
    for level, counts in sorted(found.levels.items()):
        right, true = counts.get("relaxed_true"), counts.get("true")
        rows.append(
            (
                str(level),
                f"{counts['pairs']:,}",
                _share(counts["relaxed"] / max(counts["pairs"], 1)),
                _share(None if true is None else true / max(counts["pairs"], 1)),
                _share(None if right is None else right / max(counts["relaxed"], 1)),
                _share(None if right is None or true is None else right / max(true, 1)),
            )
        )
    columns = ("level", "pairs", "relaxed", "true", "precision", "recall")
    return table(columns, rows, title=f"{found.method}, by level")


def _examples(found: Diagnosis, count: int) -> Table:
    from itm.console import table

    columns = ("kind", "caption", "the image's own caption", "dn diff.", "gate", "relevance", "margin", "weight")
    rows = []
    shown: dict[str, int] = {}
    for pair in found.examples:
        kind = _kind(pair)
        shown[kind] = shown.get(kind, 0) + 1
        if shown[kind] <= count:
            figures = (pair.difference, pair.gate, pair.relevance, pair.margin, pair.weight)
            rows.append((kind, pair.caption, pair.image_caption, *map(_share, figures)))
    return table(columns, rows, title=f"{found.method}: examples")


def _kind(pair: Pair) -> str:
    if not pair.relaxed:
        return "missed"
    return "relaxed" if pair.true is None else "relaxed, true" if pair.true else "relaxed, false"
