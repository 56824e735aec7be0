"""ratings.parquet: graded pairs of captions and images, one row a judgement."""

from __future__ import annotations

import pandas as pd

from itm.data.schemas.faults import Fault, fault, rows_where
from itm.data.schemas.rules import number, one_of, table_schema, text, validate, whole

NAME = "ratings"

KINDS: dict[str, tuple[float, float, str]] = {
    "sts": (0.0, 5.0, "caption caption"),
    "sis": (0.0, 5.0, "image image"),
    "sits": (0.0, 5.0, "caption image"),
    "expert": (1.0, 4.0, "caption image"),
    "crowdflower": (0.0, 1.0, "caption image"),
}
"""Lowest and highest score of each kind, and what it compares."""

_FILLED = {
    "caption caption": ("caption_id_1", "caption_id_2"),
    "image image": ("image_id_1", "image_id_2"),
    "caption image": ("caption_id_1", "image_id_1"),
}
_IDS = ("caption_id_1", "caption_id_2", "image_id_1", "image_id_2")
JUDGES = 3


def check(frame: pd.DataFrame) -> list[Fault]:
    """Faults of form; ids that the kind does not have; scores out of the kind's range; pairs rated twice."""
    faults = validate(
        table_schema(
            {
                "kind": one_of(*KINDS),
                "caption_id_1": whole("Int64", 0, 2**63 - 1, nullable=True),
                "caption_id_2": whole("Int64", 0, 2**63 - 1, nullable=True),
                "image_id_1": text(nullable=True),
                "image_id_2": text(nullable=True),
                "score": number("float64", 0, 5),
                "sampling": text(filled=False),
                "judge": whole("int8", -1, JUDGES - 1),
            }
        ),
        NAME,
        frame,
    )
    if faults:
        return faults
    for kind, (low, high, pair) in KINDS.items():
        of_kind = frame["kind"] == kind
        out = of_kind & ~frame["score"].between(low, high)
        faults += rows_where(NAME, frame, "score", out, f"{kind} scores are {low:g} to {high:g}", "range")
        for column in _IDS:
            filled = frame[column].notna()
            wrong = of_kind & (filled != (column in _FILLED[pair]))
            rule = f"{kind} compares {pair}: must {'' if column in _FILLED[pair] else 'not '}be given"
            faults += rows_where(NAME, frame, column, wrong, rule, "null")
        judged = of_kind & ((frame["judge"] >= 0) != (kind == "expert"))
        faults += rows_where(NAME, frame, "judge", judged, f"{kind}: expert rows name a judge, others have -1", "value")
    repeated = frame.duplicated(["kind", *_IDS, "judge"])
    faults += rows_where(NAME, frame, "kind", repeated, "a pair must not be rated twice", "duplicate")
    expert = frame[frame["kind"] == "expert"]
    counts = expert.groupby(["caption_id_1", "image_id_1"]).size()
    bad = [f"caption {pair[0]}, image {pair[1]}: {count}" for pair, count in counts.items() if count != JUDGES]  # type: ignore[index]
    return faults + fault(NAME, "judge", f"every expert pair has {JUDGES} judges", "count", bad)
