"""`score`: the descriptiveness of each caption, the words behind it, and measures of the order it gives."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from itm.stages.harness import outputs, run


def score(
    clean: Annotated[Path, typer.Option(help="folder of the clean tables")],
    out: Annotated[Path, typer.Option(help="folder for the scored captions")],
    metrics: Annotated[Path, typer.Option(help="JSON file for the score's metrics")],
) -> None:
    """Score how descriptive each caption is; document frequencies come from the training captions only."""
    from itm.config import load
    from itm.data.files import write_json
    from itm.data.schemas.rules import raise_faults
    from itm.data.schemas.scored import check
    from itm.text.corpus import read_corpus, score_corpus, scored_table, write_scored
    from itm.text.measures import measure

    parameters = load()
    corpus = read_corpus(clean)
    scored = score_corpus(corpus, parameters.score)
    faults = check(scored_table(corpus, scored).to_pandas())
    raise_faults(faults, f"{clean}: the scored captions break their contract", "score")
    with outputs():
        write_scored(out, corpus, scored)
        write_json(metrics, measure(corpus, scored))
    logging.getLogger(__name__).info(
        "%d captions, %d training words, dn from d %.2f to %.2f",
        len(corpus),
        len(scored.idf.words),
        scored.normaliser.low,
        scored.normaliser.high,
    )


if __name__ == "__main__":
    run(score)
