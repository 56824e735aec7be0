"""Retrieval in both directions with the pair labels as answers: R@K, MedR, MeanR, RSUM."""

from __future__ import annotations

import numpy as np

from itm.config.parameters import EvaluateParameters
from itm.evaluation.result import Result, id_hash
from itm.evaluation.tables import Tables
from itm.metrics import Positives, hit_rates, rank_all, rsum, top_items, warn_if_collapsed
from itm.vectors.pipeline import Embeddings

LISTED = 10
"""Items kept of each query's ranked list, for the report's examples."""


def evaluate(tables: Tables, embeddings: Embeddings, parameters: EvaluateParameters) -> Result:
    """Hit rates over the whole split: every image against every caption, whatever their number an image.

    The answers are the pair labels: a caption's own image, an image's own captions. Queries are all images
    and all captions; R@K is a hit rate (itm.metrics.recall). Beside the ranks are kept: the first items of each
    query (`i2t_top`, `t2i_top`: gallery positions, best first) and each caption's similarity to its own image.
    """
    images, captions = tables.images["image_id"], tables.captions
    scorer = embeddings.scorer(images, captions["row"])
    answers = Positives.from_owners(tables.owners, len(images))
    (i2t,), (t2i,) = rank_all(scorer, rows=[answers[0]], columns=[answers[1]])
    rates = {}
    for name, ranks in (("i2t", i2t), ("t2i", t2i)):
        warn_if_collapsed(ranks, f"retrieval {name}")
        rates[name] = hit_rates(ranks, parameters.recall_at)
    return Result(
        {**rates, "rsum": rsum(*rates.values())},
        {
            "image_ids": images,
            "caption_ids": captions["caption_id"],
            "owners": tables.owners,
            "i2t_rank": i2t.rank,
            "t2i_rank": t2i.rank,
            "i2t_ties": i2t.pessimistic - i2t.optimistic,
            "t2i_ties": t2i.pessimistic - t2i.optimistic,
            "i2t_top": top_items(scorer, min(LISTED, len(captions["row"]))).astype(np.int32),
            "t2i_top": top_items(scorer.transposed(), min(LISTED, len(images))).astype(np.int32),
            "own_similarity": scorer.exact(tables.owners, np.arange(len(tables.owners))).astype(np.float32),
        },
        {
            "images": len(images),
            "captions": len(captions["row"]),
            "denominators": {"i2t": len(images), "t2i": len(captions["row"])},
            "recall_at": list(parameters.recall_at),
            "image_ids": id_hash(images),
            "caption_ids": id_hash(captions["caption_id"]),
            "ties": "lower gallery position first",
        },
    )
