"""`itm score`: the descriptiveness of texts typed on the command line, word by word if asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def score_command(
    texts: Annotated[list[str], typer.Argument(help="captions, each in quotes", metavar="TEXT...")],
    explain: Annotated[bool, typer.Option("--explain", help="show what each word adds")] = False,
    idf: Annotated[Path, typer.Option(help="idf table that the score stage wrote")] = Path("data/scored/idf.parquet"),
) -> None:
    """Print how descriptive each caption is (d), by the words of the training captions."""
    from itm.text.explain import explain as shares_of
    from itm.text.explain import total
    from itm.text.tables import read_idf

    table = read_idf(idf)
    if table.parameters.kind == "expected_fit":
        typer.echo("score.kind is expected_fit, which needs the training captions; here is the sum of TF-IDF", err=True)
    scores = total(texts, table)
    shares = shares_of(texts, table) if explain else []
    for row, text in enumerate(texts):
        typer.echo(f"{scores[row]:8.3f}  {text}")
        for share in (share for share in shares if share.text == row):
            typer.echo(f"{share.points:12.3f}  {share.word}  {_why(share, table.documents)}".rstrip())


def _why(share: object, documents: int) -> str:
    from itm.text.explain import Share

    assert isinstance(share, Share)
    if not share.keyword:
        return "(stop word)"
    times = f", {share.occurrences} times" if share.occurrences > 1 else ""
    if share.document_frequency == 0:
        return f"(not in training: idf {share.idf:.3f}, the cap{times})"
    cap = ", the cap" if share.capped else ""
    return f"(in {share.document_frequency} of {documents}: idf {share.idf:.3f}{cap}{times})"
