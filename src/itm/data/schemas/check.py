"""The contract of every table by its name, and of all clean tables together."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.config.parameters import Parameters
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, QUARANTINE, RATINGS, TEXTS
from itm.data.schemas.clean import CHECKS
from itm.data.schemas.protocols import check_protocol, check_ratings
from itm.data.schemas.relations import check_captions, check_references, check_texts, check_truth
from itm.data.schemas.rules import Fault, raise_faults
from itm.errors import DataError, nearest

TABLES = (*CHECKS, "scored", "descriptions")


def check_table(name: str, frame: pd.DataFrame) -> list[Fault]:
    """Every rule of its contract that a table breaks; `name` is one of TABLES.

    Raises:
        DataError: there is no contract of that name.
    """
    if name not in TABLES:
        raise DataError(f"no contract for a table '{name}'; {nearest(name, TABLES)}", reason="unknown-table")
    frame = frame.reset_index(drop=True)
    if name in CHECKS:
        return CHECKS[name](frame)
    found: list[Fault] = import_module(f"itm.data.schemas.{name}").check(frame)
    return found


def check_clean(
    tables: Mapping[str, pd.DataFrame], truth: Mapping[str, NDArray[np.generic]], parameters: Parameters
) -> dict[str, Any]:
    """Sizes and identities of the splits, after every table and every relation between them has been checked.

    Raises:
        DataError: with every broken rule, if there is any.
    """
    names = {CAPTIONS: "captions", IMAGES: "images", TEXTS: "texts"}
    names |= {HIERARCHIES: "hierarchies", RATINGS: "ratings", QUARANTINE: "quarantine"}
    faults: list[Fault] = []
    for file, name in names.items():
        faults += check_table(name, tables[file])
    raise_faults(faults, f"{parameters.data.name}: the clean tables break their contract")
    captions, images = tables[CAPTIONS], tables[IMAGES]
    faults += check_captions(captions, images)
    faults += check_texts(tables[TEXTS], captions, tables[HIERARCHIES])
    faults += check_references(tables[HIERARCHIES], tables[RATINGS], captions, images)
    faults += check_truth(truth, captions, images)
    rejected = tables[QUARANTINE]
    photos = int(rejected["source"].str.endswith((".zip", ".tar", ".gz")).sum())
    more, found = check_protocol(parameters, images, captions, photos)
    more += check_ratings(parameters, tables[RATINGS])
    raise_faults([*faults, *more], f"{parameters.data.name}: the clean tables do not fit together")
    return found
