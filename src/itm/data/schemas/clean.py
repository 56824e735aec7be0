"""Contracts of the clean tables, one function a table: faults of form and value, all at once."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from itm.data.decode import MAXIMUM_PIXELS
from itm.data.layout import SPLITS, shard
from itm.data.schemas.rules import (
    LARGEST_INT32,
    Fault,
    fault,
    number,
    one_of,
    place_in,
    rows_where,
    table_schema,
    text,
    validate,
    whole,
)

IMAGE_SPLITS = (*SPLITS, "hierarcaps")
TEXT_KINDS = ("caption", "hierarchy", "empty")
LEVELS = (1, 2, 3, 4)
RATING_KINDS: dict[str, tuple[float, float, str]] = {
    "sts": (0.0, 5.0, "caption caption"),
    "sis": (0.0, 5.0, "image image"),
    "sits": (0.0, 5.0, "caption image"),
    "expert": (1.0, 4.0, "caption image"),
    "crowdflower": (0.0, 1.0, "caption image"),
}
"""Lowest and highest score of each kind, and what it compares."""
_RATED = {
    "caption caption": ("caption_id_1", "caption_id_2"),
    "image image": ("image_id_1", "image_id_2"),
    "caption image": ("caption_id_1", "image_id_1"),
}
_IDS = ("caption_id_1", "caption_id_2", "image_id_1", "image_id_2")
JUDGES = 3
REASONS = (
    "no-split",
    "no-photo",
    "empty",
    "placeholder",
    "too-short",
    "too-long",
    "repeated",
    "photo-rejected",
    "photo-missing",
    "no-caption-left",
    "empty-image",
    "not-an-image",
    "too-many-pixels",
    "too-many-bytes",
    "damaged-image",
    "pixel-values",
    "damaged-member",
    "extra-caption",
    "other-language",
    "repeated-photo",
    "malformed",
    "outside",
    "other-split",
)


def captions(frame: pd.DataFrame) -> list[Fault]:
    """Faults of captions.parquet: one row a caption of a split.

    Faults of form and value; splits in order; positions inside an image that rise.
    """
    faults = validate(
        table_schema(
            {
                "caption_id": whole("int64", 0, 2**63 - 1, unique=True),
                "image_id": text(),
                "split": one_of(*SPLITS),
                "position": whole("int8", 0, 127),
                "text": text(filled=False),
                "raw_text": text(filled=False),
                "level": whole("int8", -1, 127),
                "multiplicity": whole("int32", -1, LARGEST_INT32),
            }
        ),
        "captions",
        frame,
    )
    if faults:
        return faults
    empty = (frame["text"] == "") & (frame["split"] == "train")
    faults += rows_where("captions", frame, "text", empty, "a training caption must not be empty", "value")
    order = place_in(SPLITS, frame["split"])
    faults += rows_where(
        "captions", frame, "split", order.diff() < 0, f"rows must be in the order {', '.join(SPLITS)}", "order"
    )
    new_image = frame["image_id"] != frame["image_id"].shift()
    falling = ~new_image & (frame["position"].diff() <= 0)
    faults += rows_where("captions", frame, "position", falling, "must rise inside an image", "order")
    torn = new_image & frame["image_id"].duplicated()
    return faults + rows_where(
        "captions", frame, "image_id", torn, "the captions of an image must be together", "order"
    )


def images(frame: pd.DataFrame) -> list[Fault]:
    """Faults of images.parquet: one row an image, with its place in a shard.

    Faults of form and value; splits in order; every image in the shard of its split, none over another.
    """
    faults = validate(
        table_schema(
            {
                "image_id": text(unique=True),
                "split": one_of(*IMAGE_SPLITS),
                "source": text(),
                "shard": text(),
                "offset": whole("int64", 512, 2**63 - 1),
                "size": whole("int64", 1, 2**63 - 1),
                "width": whole("int32", 1, LARGEST_INT32),
                "height": whole("int32", 1, LARGEST_INT32),
                "mode": one_of("RGB", "L"),
                "sha256": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$", error="64 hexadecimal digits")),
            }
        ),
        "images",
        frame,
    )
    if faults:
        return faults
    order = place_in(IMAGE_SPLITS, frame["split"])
    faults += rows_where(
        "images", frame, "split", order.diff() < 0, f"rows must be in the order {', '.join(IMAGE_SPLITS)}", "order"
    )
    misplaced = frame["shard"] != frame["split"].map(shard)
    faults += rows_where("images", frame, "shard", misplaced, "must be the shard of the split", "value")
    large = frame["width"].astype("int64") * frame["height"].astype("int64") > MAXIMUM_PIXELS
    faults += rows_where("images", frame, "width", large, f"width x height must be at most {MAXIMUM_PIXELS}", "range")
    ordered = frame.sort_values(["shard", "offset"])
    end = (ordered["offset"] + ordered["size"]).groupby(ordered["shard"]).shift()
    over = (end > ordered["offset"]).reindex(frame.index)
    return faults + rows_where("images", frame, "offset", over, "must not lie inside the image before", "range")


def texts(frame: pd.DataFrame) -> list[Fault]:
    """Faults of texts.parquet: every text that is embedded, in one list.

    Faults of form and value; text_id is the row; captions, hierarchy texts, and one empty text at the end.
    """
    faults = validate(
        table_schema(
            {"text_id": whole("int64", 0, 2**63 - 1), "text": text(filled=False), "kind": one_of(*TEXT_KINDS)}
        ),
        "texts",
        frame,
    )
    if faults:
        return faults
    moved = frame["text_id"] != frame.index
    faults += rows_where("texts", frame, "text_id", moved, "must be the row number", "order")
    order = place_in(TEXT_KINDS, frame["kind"])
    faults += rows_where(
        "texts", frame, "kind", order.diff() < 0, f"rows must be in the order {', '.join(TEXT_KINDS)}", "order"
    )
    root = (frame["kind"] == "empty") != (frame.index == len(frame) - 1)
    faults += rows_where("texts", frame, "kind", root, "exactly the last row is the empty text", "count")
    wrong = (frame["kind"] == "empty") & (frame["text"] != "")
    return faults + rows_where("texts", frame, "text", wrong, "the text of kind empty must be empty", "value")


def hierarchies(frame: pd.DataFrame) -> list[Fault]:
    """Faults of hierarchies.parquet: four texts an image, from generic to specific.

    Faults of form and value; every chain has the levels 1 to 4, once each and in order.
    """
    faults = validate(
        table_schema(
            {
                "image_id": text(),
                "level": whole("int8", LEVELS[0], LEVELS[-1]),
                "text": text(),
                "text_id": whole("int64", 0, 2**63 - 1, unique=True),
            }
        ),
        "hierarchies",
        frame,
    )
    if faults:
        return faults
    levels = frame.groupby("image_id", sort=False)["level"].agg(tuple)
    bad = [f"{image} has {', '.join(map(str, found))}" for image, found in levels.items() if tuple(found) != LEVELS]
    return fault("hierarchies", "level", "every image has the levels 1, 2, 3, 4 in this order", "count", bad)


def ratings(frame: pd.DataFrame) -> list[Fault]:
    """Faults of ratings.parquet: graded pairs of captions and images, one row a judgement.

    Faults of form; ids that the kind does not have; scores out of the kind's range; pairs rated twice.
    """
    faults = validate(
        table_schema(
            {
                "kind": one_of(*RATING_KINDS),
                "caption_id_1": whole("Int64", 0, 2**63 - 1, nullable=True),
                "caption_id_2": whole("Int64", 0, 2**63 - 1, nullable=True),
                "image_id_1": text(nullable=True),
                "image_id_2": text(nullable=True),
                "score": number("float64", 0, 5),
                "sampling": text(filled=False),
                "judge": whole("int8", -1, JUDGES - 1),
            }
        ),
        "ratings",
        frame,
    )
    if faults:
        return faults
    for kind, (low, high, pair) in RATING_KINDS.items():
        of_kind = frame["kind"] == kind
        out = of_kind & ~frame["score"].between(low, high)
        faults += rows_where("ratings", frame, "score", out, f"{kind} scores are {low:g} to {high:g}", "range")
        for column in _IDS:
            filled = frame[column].notna()
            wrong = of_kind & (filled != (column in _RATED[pair]))
            rule = f"{kind} compares {pair}: must {'' if column in _RATED[pair] else 'not '}be given"
            faults += rows_where("ratings", frame, column, wrong, rule, "null")
        judged = of_kind & ((frame["judge"] >= 0) != (kind == "expert"))
        faults += rows_where(
            "ratings", frame, "judge", judged, f"{kind}: expert rows name a judge, others have -1", "value"
        )
    repeated = frame.duplicated(["kind", *_IDS, "judge"])
    faults += rows_where("ratings", frame, "kind", repeated, "a pair must not be rated twice", "duplicate")
    expert = frame[frame["kind"] == "expert"]
    counts = expert.groupby(["caption_id_1", "image_id_1"]).size()
    bad = [f"caption {pair[0]}, image {pair[1]}: {count}" for pair, count in counts.items() if count != JUDGES]  # type: ignore[index]
    return faults + fault("ratings", "judge", f"every expert pair has {JUDGES} judges", "count", bad)


def quarantine(frame: pd.DataFrame) -> list[Fault]:
    """Faults of quarantine.parquet: every rejected row, with where it was read and why it went.

    Faults of form and value; every reason is a known code.
    """
    return validate(
        table_schema(
            {
                "source": text(),
                "row": whole("int64", 0, 2**63 - 1),
                "reason": one_of(*REASONS),
                "text": text(filled=False),
                "image_id": text(filled=False),
            }
        ),
        "quarantine",
        frame,
    )


CHECKS = {
    "captions": captions,
    "images": images,
    "texts": texts,
    "hierarchies": hierarchies,
    "ratings": ratings,
    "quarantine": quarantine,
}
"""The contract of each clean table by its name."""
