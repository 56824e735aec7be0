"""Identity of the model that made vectors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from itm.data.layout import MODEL_CARD, MODEL_WEIGHTS


def model_hash(folder: Path) -> str:
    """SHA-256 over the card and the weights of a saved model; vectors of one hash can be compared."""
    digest = hashlib.sha256()
    for name in (MODEL_CARD, MODEL_WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
