"""`itm transfer`: trained models on another data set, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def transfer(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Trained models, models/METHOD/seedN.")],
    data: Annotated[
        Path, typer.Option(help="Data folder of the other data set: `clean` and, for false_negatives, `scored` in it.")
    ],
    source: Annotated[
        Path, typer.Option(help="Data folder of the training: `clean`, `features` and `descriptions` in it.")
    ] = Path("data"),
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Benchmark; may be given several times. Without it retrieval.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the other data set: test or dev.")] = "test",
    params: Annotated[Path, typer.Option(help="Parameters of the training.")] = Path("params.yaml"),
    out: Annotated[Path | None, typer.Option(help="Write all metrics here (JSON).")] = None,
    evaluations: Annotated[
        Path | None, typer.Option(help="Folder for per-query values, METHOD/seedN, for `itm compare`.")
    ] = None,
) -> None:
    """Evaluate trained models on another data set, zero-shot: features and descriptions are computed, no training.

    Example: `itm transfer models/clip/seed0 models/vsd/seed0 --data ../scenes/data --benchmark false_negatives`.
    """
    from itm.config import load
    from itm.console import console
    from itm.data.files import check_outputs
    from itm.errors import ConfigError
    from itm.evaluation.keys import metric_lines
    from itm.evaluation.result import write_together
    from itm.pipeline.devices import device as pick_device
    from itm.transfer.run import transfer as run

    if split not in ("test", "dev"):
        raise ConfigError(f"--split {split}: must be test or dev", reason="unknown-split")
    check_outputs(out, evaluations and evaluations / "seed")
    parameters = load(params)
    with pick_device(parameters.device) as device:
        found, results = run(
            models,
            data,
            source,
            parameters,
            benchmark or ["retrieval"],
            device,
            split=split,
            evaluations=evaluations or Path(),
        )
    printed = console()
    seen = "not known" if found["seen_in_training"] is None else found["seen_in_training"]
    printed.print(f"{data}, {split}: {found['images']} images, {found['captions']} captions; seen in training: {seen}")
    for model, metrics in found["runs"].items():
        printed.print(f"\n{model}")
        printed.print(*metric_lines(metrics), sep="\n")
    write_together(results if evaluations else {}, found, out)
