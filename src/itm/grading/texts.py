"""Captions with ids from a table that anybody can write, their idf table, and how descriptive each is."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import check_columns
from itm.errors import ConfigError, DataError, first_few
from itm.text.counts import count_words, document_frequencies, select
from itm.text.descriptiveness import descriptiveness
from itm.text.idf import IdfTable, idf_table

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Captions:
    """Rows of a table of captions."""

    caption_ids: Ids
    image_ids: Ids | None
    texts: list[str]

    def rows(self, wanted: Ids, where: Path) -> Ids:
        """The row of each caption id.

        Raises:
            DataError: an id is not among these captions; `where` names the file that asks for it.
        """
        row = {one: place for place, one in enumerate(self.caption_ids.tolist())}
        missing = [one for one in np.unique(wanted).tolist() if one not in row]
        if missing:
            raise DataError(
                f"{where}: {len(missing)} caption ids are not in the table of captions ({first_few(missing)})",
                reason="missing-id",
            )
        return np.array([row[one] for one in wanted.tolist()], dtype=np.int64)


def read_captions(path: Path, images: bool) -> Captions:
    """The columns caption_id, text and, if asked for, image_id of a CSV file (UTF-8, with a head line).

    Raises:
        DataError: the file is missing or no such table, an id is no whole number, or a caption's id occurs twice.
    """
    found = read_table(path, ["caption_id", *(["image_id"] if images else [])], text="text")
    distinct, times = np.unique(found["caption_id"], return_counts=True)
    repeated = distinct[times > 1]
    if len(repeated):
        raise DataError(
            f"{path}: {len(repeated)} caption ids occur more than once ({first_few(repeated)})", reason="repeated-id"
        )
    return Captions(found["caption_id"], found["image_id"] if images else None, found["text"])


def read_pairs(path: Path) -> tuple[Ids, Ids]:
    """The columns image_id and caption_id of a CSV file. Errors as `read_captions`, but ids may repeat."""
    found = read_table(path, ["image_id", "caption_id"])
    return found["image_id"], found["caption_id"]


def read_table(path: Path, ids: list[str], text: str | None = None) -> dict[str, Any]:
    """Columns of whole numbers (int64), and a column of texts."""
    wanted = [*ids, *([text] if text else [])]
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            found = list(reader.fieldnames or [])
            check_columns(path, found, wanted)
            rows = [[row[name] for name in wanted] for row in reader]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", reason="missing-file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}", reason="damaged") from None
    if not rows:
        raise DataError(f"{path}: no rows below the head line", reason="empty")
    columns: dict[str, Any] = dict(zip(wanted, map(list, zip(*rows, strict=True)), strict=True))
    for name in ids:
        bad = [f"row {row + 1}: {value!r}" for row, value in enumerate(columns[name]) if not _whole(value)]
        if bad:
            raise DataError(
                f"{path}: {len(bad)} of {len(rows)} values of {name} are not whole numbers ({first_few(bad)})",
                reason="ids",
            )
        columns[name] = np.array([int(value) for value in columns[name]], dtype=np.int64)
    return columns


def fit_idf(captions: Captions, parameters: ScoreParameters) -> IdfTable:
    """The idf table of these captions (of these images' captions with `document: image`)."""
    counts = count_words(captions.texts)
    if parameters.document == "caption" or captions.image_ids is None:
        return idf_table(document_frequencies(counts), parameters)
    order = np.argsort(captions.image_ids, kind="stable")
    return idf_table(document_frequencies(select(counts, order), captions.image_ids[order]), parameters)


def describe(texts: list[str], idf: IdfTable) -> NDArray[np.float64]:
    """[texts] d of each text.

    Raises:
        ConfigError: the table is of `kind: expected_fit`, which needs the training captions as well.
    """
    if idf.parameters.kind == "expected_fit":
        raise ConfigError(
            "score.kind expected_fit needs the training captions beside the idf table; use tfidf or keyword_count",
            reason="score-kind",
        )
    return np.asarray(descriptiveness(count_words(texts), idf).descriptiveness)


def idf_hash(idf: IdfTable) -> str:
    """Twelve hex digits that change with any word, count or option of the table: equal hashes, equal d."""
    facts = {"documents": idf.documents, "score": idf.parameters.model_dump()}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update("\n".join(idf.words.to_pylist()).encode())
    digest.update(np.ascontiguousarray(idf.document_frequency, dtype="<i8").tobytes())
    return digest.hexdigest()[:12]


def _whole(value: str | None) -> bool:
    try:
        return value is not None and abs(int(value)) < 2**63
    except ValueError:
        return False
