"""`train`: one method fitted with one seed, selected on dev, written with its history."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itm.config import Parameters, load
from itm.errors import InstallError, TrainingError, cut, printable
from itm.stages.harness import Progress, outputs, run

if TYPE_CHECKING:
    import torch

    from itm.config.parameters import Logger
    from itm.training.distributed import Group

log = logging.getLogger(__name__)
LIVE = Path("logs/dvclive")
"""Where a log of dvclive is kept, by method and seed; neither git nor DVC looks into it."""

Told = Callable[[Mapping[str, float]], None]
"""Takes the record of an epoch."""


def train(
    method: Annotated[str, typer.Option(help="entry of `method` in params.yaml")],
    seed: Annotated[int, typer.Option(help="training seed")],
    clean: Annotated[Path, typer.Option(help="folder of the clean tables")],
    scored: Annotated[Path, typer.Option(help="folder of the scored captions")],
    features: Annotated[Path, typer.Option(help="folder of the cached features")],
    descriptions: Annotated[Path, typer.Option(help="folder of the descriptions for this method")],
    out: Annotated[Path, typer.Option(help="folder for the model")],
    results: Annotated[Path, typer.Option(help="folder for history.csv and train.json")],
) -> None:
    """Train one method with one seed."""
    parameters = load().of(method)
    import torch

    from itm.pipeline.devices import device as pick_device
    from itm.training.distributed import check_devices, join

    check_devices(parameters.device)
    with pick_device(parameters.device) as name, join(torch.device(name)) as group:
        if not group.leads:
            logging.getLogger("itm").setLevel(logging.WARNING)
        places = clean, scored, features, descriptions, out, results
        with logger(parameters.logger if group.leads else "none", LIVE / method / f"seed{seed}") as told:
            _train(parameters, method, seed, *places, torch.device(name), group, told)


def _train(
    parameters: Parameters,
    name: str,
    seed: int,
    clean: Path,
    scored: Path,
    features: Path,
    descriptions: Path,
    out: Path,
    results: Path,
    device: torch.device,
    group: Group,
    told: Told,
) -> None:
    from itm.data.catalogue import load_catalogue
    from itm.data.layout import DESCRIPTION_VECTORS
    from itm.methods.build import build_method
    from itm.methods.saved import save_model
    from itm.training.card import write_card
    from itm.training.checkpoint import Checkpoint, key
    from itm.training.dataset import Decoding, load_training_data
    from itm.training.figures import dev_figures
    from itm.training.inputs import Encoder
    from itm.training.loop import Trainer, seed_everything

    options = parameters.entry(name)
    seed_everything(seed, parameters.train.threads)
    decoding = Decoding.of(parameters.train, seed, pinned=device.type == "cuda")
    vectors = descriptions / DESCRIPTION_VECTORS
    data = load_training_data(clean, scored, features, parameters.towers, options, seed, decoding, vectors)
    method = build_method(options, parameters.embedding, data.widths).to(device)
    for addition in method.added.values():
        addition.start(data.constants)
    towers = data.towers.to(device) if data.towers is not None else None
    encoder = Encoder(method, towers, device, parameters.train.precision, parameters.train.compile)
    facts = {
        "sections": {
            section: getattr(parameters, section).model_dump() for section in ("towers", "embedding", "train")
        },
        "method": options.model_dump(),
        "seed": seed,
        "device": device.type,
        "processes": group.size,
        "inputs": _fingerprints(clean, scored, vectors),
    }
    checkpoint = Checkpoint(key(facts))
    with Progress(f"train {name} seed {seed}", shown=group.leads) as progress:
        trainer = Trainer(
            encoder,
            data.train,
            data.dev,
            data.relations,
            parameters.train,
            seed,
            dev_figures(data.dev.owner),
            parameters.encode.batch_size,
            checkpoint,
            progress.update,
            group,
            told,
        )
        outcome = trainer.run()
    if not group.leads:
        return
    training = {"epoch": outcome.epoch, "epochs": parameters.train.epochs, "dev_rsum": round(outcome.selected, 4)}
    entry = load_catalogue()[parameters.data.name]
    facts_of_data = {"title": entry.title, "licence": entry.licence, "citation": entry.citation}
    with outputs():
        card = save_model(
            out,
            method,
            towers,
            name=name,
            seed=seed,
            method_parameters=options,
            embedding=parameters.embedding,
            towers_parameters=parameters.towers,
            towers_description=data.towers_description,
            widths=data.widths,
            training=training,
        )
        write_card(out, card, {"name": parameters.data.name, **facts_of_data})
        _write_results(results, outcome.history, training, parameters.evaluate.digits)
    checkpoint.delete()


@contextmanager
def logger(kind: Logger, folder: Path) -> Iterator[Told]:
    """What takes each epoch's record: it logs to `folder`, which is emptied first, or with "none" does nothing.

    Nothing that DVC or git tracks is written: no experiment is saved, and no dvc.yaml.

    Raises:
        InstallError: dvclive is not installed.
        TrainingError: it does not start here, as in a git repository without a commit (reason "no-log").
    """
    if kind == "none":
        yield lambda record: None
        return
    try:
        from dvclive import Live  # type: ignore[attr-defined]
    except ModuleNotFoundError as error:
        if error.name != "dvclive":
            raise
        raise InstallError(
            "logger: dvclive needs the package dvclive, which is not installed: pip install 'graded-itm[log]', or set "
            "logger: none in params.yaml"
        ) from None
    try:
        opened = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
    except Exception as error:  # of whatever library finds the repository: none of ours, and it says which
        raise TrainingError(
            f"logger: dvclive does not start here ({cut(printable(str(error)))}); it looks for the last commit: commit "
            "once, or set logger: none in params.yaml",
            reason="no-log",
        ) from error
    with opened as live:

        def tell(record: Mapping[str, float]) -> None:
            live.step = int(record["epoch"])
            for name, value in record.items():
                if name != "epoch":
                    live.log_metric(name, value)
            live.sync()

        yield tell


def _fingerprints(clean: Path, scored: Path, vectors: Path) -> dict[str, str]:
    """Hashes of the small tables; they name the large files (image hashes, towers) that go with them."""
    from itm.data.layout import CAPTIONS, IMAGES, KEYWORDS, TEXTS

    files = [clean / CAPTIONS, clean / IMAGES, clean / TEXTS, scored / CAPTIONS, scored / KEYWORDS, vectors]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _write_results(folder: Path, history: list[dict[str, float]], training: dict[str, Any], digits: int) -> None:
    from itm.data.files import atomic_path, write_json

    names = list(dict.fromkeys(name for record in history for name in record))
    with atomic_path(folder / "history.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        for record in history:
            writer.writerow({name: _rounded(name, value, digits) for name, value in record.items()})
    write_json(folder / "train.json", training)
    log.info("kept epoch: %s", json.dumps(training))


def _rounded(name: str, value: float, digits: int) -> float:
    """A figure as it is kept: the epoch whole, a learning rate by significant digits, others by decimals.

    >>> _rounded("epoch", 2.0, 4), _rounded("learning_rate", 0.000123456, 4), _rounded("train_loss", 1.23456, 4)
    (2, 0.0001235, 1.2346)
    """
    if name == "epoch":
        return int(value)
    return float(f"{value:.{digits}g}") if name == "learning_rate" else round(value, digits)


if __name__ == "__main__":
    run(train)
