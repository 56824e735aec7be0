"""Descriptiveness of many captions in parquet files: `python -m itm.text.bulk --help`.

`run` does it on one machine. The others are the jobs of workflow/bulk-score.smk, one a shard and two for all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from itm.console import write_anything
from itm.faults import message_of

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, no_args_is_help=True)

Parameters = Annotated[Path, typer.Option(help="parameters file; its section `score` counts")]
Out = Annotated[Path, typer.Option(help="parquet file to write")]
Idf = Annotated[Path, typer.Option(help="idf table of `merge`")]
Shard = Annotated[Path, typer.Argument(help="parquet file with a column text")]
Files = Annotated[list[Path], typer.Argument(help="files of all shards, in the shards' order")]

PARAMS = Path("params.yaml")


@app.command()
def run(
    files: Annotated[list[Path], typer.Argument(help="parquet files with a column text")],
    out: Out,
    workers: Annotated[int, typer.Option(min=1, help="threads")] = 1,
    params: Parameters = PARAMS,
) -> None:
    """Score captions out of core, on this machine."""
    from rich.console import Console
    from rich.progress import Progress

    from itm.config import load
    from itm.data.files import check_outputs, open_parquet
    from itm.text.stream import score_files

    check_outputs(out)
    console = Console(stderr=True)
    total = 0
    for file in files:
        with open_parquet(file, remedy="give a Parquet file") as opened:
            total += 2 * opened.metadata.num_rows
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("captions, two passes", total=total)
        found = score_files(files, out, load(params).score, workers, progress=lambda done: bar.advance(task, done))
    typer.echo(f"{found.captions:,} captions, {len(found.idf.words):,} training words: {out}")


@app.command()
def count(shard: Shard, out: Out, params: Parameters = PARAMS) -> None:
    """Count the document frequencies of a shard."""
    from itm.config import load
    from itm.text.shards import count_shard

    count_shard(shard, out, load(params).score)


@app.command()
def merge(files: Files, out: Out, params: Parameters = PARAMS) -> None:
    """Add the counts of all shards up to one idf table."""
    from itm.config import load
    from itm.text.shards import merge_counts

    merge_counts(files, out, load(params).score)


@app.command()
def score(shard: Shard, idf: Idf, out: Out) -> None:
    """Score the captions of a shard."""
    from itm.text.shards import score_shard

    score_shard(shard, idf, out)


@app.command()
def finish(files: Files, idf: Idf, out: Out) -> None:
    """Normalise the scores of all shards and write them as one table."""
    from itm.text import shards

    shards.finish(files, idf, out)


def main() -> None:
    """Run the command line; what a user or the machine can mend is one message, and status 1."""
    write_anything()
    try:
        app()
    except Exception as error:
        if (message := message_of(error)) is None:
            raise
        typer.echo(f"itm bulk score: {message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
