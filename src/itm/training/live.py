"""A training's figures as a log of dvclive, beside the history that the stage keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from itm.errors import InstallError, TrainingError, cut, printable

Told = Callable[[Mapping[str, float]], None]
"""Takes the record of an epoch."""


@contextmanager
def logger(kind: Literal["none", "dvclive"], folder: Path) -> Iterator[Told]:
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
