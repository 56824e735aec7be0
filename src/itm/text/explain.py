"""The share of each word in a text's descriptiveness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from itm.text.counts import count_words
from itm.text.descriptiveness import descriptiveness, word_weights
from itm.text.idf import IdfTable


class Share(NamedTuple):
    """One word of one text."""

    text: int
    """Row of the text in what was asked."""
    word: str
    occurrences: int
    document_frequency: int
    """Training documents that hold the word; 0 = unseen."""
    idf: float
    keyword: bool
    """False: a stop word, which adds nothing."""
    capped: bool
    """Rarer than the smallest document frequency: counted as if it had that one."""
    points: float
    """What the word adds to d."""


def word_shares(texts: Sequence[str], table: IdfTable) -> list[Share]:
    """The words of each text, those that add most first; a text's points add up to its d.

    Raises:
        DataError: a text is missing or is not a string.
    """
    counts = count_words(texts, "texts")
    idf, keyword = table.look_up(counts.words)
    frequency = table.frequency(counts.words)
    points = word_weights(counts, table)
    floor = min(table.parameters.minimum_document_frequency, table.documents)
    words = counts.words.to_pylist()
    shares = [
        Share(
            row,
            words[code],
            count,
            int(frequency[code]),
            float(idf[code]),
            bool(keyword[code]),
            bool(frequency[code] < floor),
            point,
        )
        for row, code, count, point in zip(
            counts.rows.tolist(), counts.codes.tolist(), counts.counts.tolist(), points.tolist(), strict=True
        )
    ]
    return sorted(shares, key=lambda share: (share.text, -share.points, share.word))


def total(texts: Sequence[str], table: IdfTable) -> np.ndarray:
    """d of each text, float64."""
    return descriptiveness(count_words(texts, "texts"), table).descriptiveness


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def score_command(
    texts: Annotated[list[str], typer.Argument(help="captions, each in quotes", metavar="TEXT...")],
    explain: Annotated[bool, typer.Option("--explain", help="show what each word adds")] = False,
    idf: Annotated[Path, typer.Option(help="idf table that the score stage wrote")] = Path("data/scored/idf.parquet"),
) -> None:
    """Print how descriptive each caption is (d), by the words of the training captions."""
    from itm.text.tables import read_idf

    table = read_idf(idf)
    if table.parameters.kind == "expected_fit":
        typer.echo("score.kind is expected_fit, which needs the training captions; here is the sum of TF-IDF", err=True)
    scores = total(texts, table)
    shares = word_shares(texts, table) if explain else []
    for row, text in enumerate(texts):
        typer.echo(f"{scores[row]:8.3f}  {text}")
        for share in (share for share in shares if share.text == row):
            typer.echo(f"{share.points:12.3f}  {share.word}  {_why(share, table.documents)}".rstrip())


def _why(share: Share, documents: int) -> str:
    if not share.keyword:
        return "(stop word)"
    times = f", {share.occurrences} times" if share.occurrences > 1 else ""
    if share.document_frequency == 0:
        return f"(not in training: idf {share.idf:.3f}, the cap{times})"
    cap = ", the cap" if share.capped else ""
    return f"(in {share.document_frequency} of {documents}: idf {share.idf:.3f}{cap}{times})"
