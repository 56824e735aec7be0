"""Ids of images and captions: whole numbers or texts, one a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError, first_few

Ids = NDArray[Any]
"""int64 or str."""


def check_ids(values: NDArray[Any], where: str, *, rows: int | None = None, unique: bool = True) -> Ids:
    """The ids as int64 or as strings; texts that are all whole numbers become numbers, and so do floats that can hold
    them exactly.

    Args:
        where: the file and the array, for messages.
        rows: how many there must be.
        unique: whether none may occur twice.

    Raises:
        DataError: they are not one-dimensional ("ids"), too few or many ("shape"), no whole numbers or texts ("ids"),
            floats that may have been rounded ("ids"), empty ("ids"), or not unique ("repeated-id").

    >>> check_ids(np.array(["12", "007"]), "x"), check_ids(np.array([3.0]), "x")
    (array([12,  7]), array([3]))
    >>> check_ids(np.array([2.0**24], np.float32), "x.npz: image_ids")
    Traceback (most recent call last):
    itm.errors.DataError: x.npz: image_ids: 1 of 1 may have been rounded by float32 (rows 0); save ids as int64
    """
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise DataError(f"{where} has shape {ids.shape}; expected [rows]", reason="ids")
    if rows is not None and len(ids) != rows:
        raise DataError(f"{where}: {len(ids)} ids for {rows} rows", reason="shape")
    if ids.dtype.kind == "f":
        _refuse(where, ~np.isfinite(ids), "are NaN or infinite", "every row needs an id")
        _refuse(where, ids != np.floor(ids), "are no whole numbers", "save ids as int64")
        limit = 2.0 ** (np.finfo(ids.dtype).nmant + 1)
        _refuse(where, np.abs(ids) >= limit, f"may have been rounded by {ids.dtype}", "save ids as int64")
    elif ids.dtype.kind == "u":
        _refuse(where, ids > np.iinfo(np.int64).max, "do not fit int64", "save ids as int64")
    elif ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8", "backslashreplace")
    elif ids.dtype.kind == "O" and all(isinstance(one, str) for one in ids):
        ids = ids.astype(str)
    elif ids.dtype.kind not in "iU":
        raise DataError(f"{where} is {ids.dtype}; expected whole numbers (int64) or texts", reason="ids")
    if ids.dtype.kind == "U":
        _refuse(where, np.char.str_len(ids) == 0, "are empty", "every row needs an id")
        # at most 18 digits: they fit int64
        if len(ids) and np.char.isdecimal(ids).all() and int(np.char.str_len(ids).max()) <= 18:
            ids = np.array([int(one) for one in ids], dtype=np.int64)
    if ids.dtype.kind != "U":
        ids = ids.astype(np.int64)
    if unique:
        found, times = np.unique(ids, return_counts=True)
        repeated = found[times > 1]
        if len(repeated):
            raise DataError(
                f"{where}: {len(repeated)} ids occur more than once ({first_few(repeated)})", reason="repeated-id"
            )
    return ids


def positions(known: NDArray[Any], wanted: NDArray[Any], what: str, where: str) -> NDArray[np.int64]:
    """[wanted] the position of each id among the known ones.

    Raises:
        DataError: a known id occurs twice, or a wanted id is not known.

    >>> positions(np.array(["a", "b"]), np.array(["b", "b"]), "images", "x.npz")
    array([1, 1])
    """
    known, wanted = np.asarray(known), np.asarray(wanted)
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(repeated):
        raise DataError(f"{where}: {len(repeated)} ids occur twice ({first_few(repeated)})", reason="repeated-id")
    place = np.minimum(np.searchsorted(ordered, wanted), max(0, len(known) - 1))
    missing = np.unique(wanted[ordered[place] != wanted]) if len(known) else np.unique(wanted)
    if len(missing):
        raise DataError(
            f"{where}: {len(missing)} {what} are missing ({first_few(missing)}); were they written from the same"
            " data and split?",
            reason="missing-id",
        )
    found: NDArray[np.int64] = order[place]
    return found


def among(values: NDArray[Any], known: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value is a known one: `numpy.isin`, which compares all pairs of texts, for both kinds of ids.

    >>> among(np.array(["a", "b"], object), np.array(["b", "c"], object)).tolist()
    [False, True]
    """
    found = set(known.tolist())
    return np.fromiter((value in found for value in values.tolist()), bool, len(values))


def _refuse(where: str, wrong: NDArray[np.bool_], what: str, then: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise DataError(f"{where}: {len(rows)} of {len(wrong)} {what} (rows {first_few(rows)}); {then}", reason="ids")
