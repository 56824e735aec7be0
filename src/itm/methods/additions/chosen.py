"""Which vectors of embedded rows a part works on."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from itm.errors import ModelError
from itm.methods.interface import Embedded

Vectors = Literal["fused", "local"]


def chosen(embedded: Embedded, vectors: Vectors) -> Tensor:
    """Unit vectors (batch, dimension): the embeddings ("fused"), or the pooled tokens alone ("local").

    Raises:
        ModelError: the similarity gives no pooled tokens (reason "no-local").
    """
    if vectors == "fused":
        return functional.normalize(embedded.embedding, dim=-1)
    if "local" not in embedded.extra:
        raise ModelError(
            "'local' vectors are those of the similarity `aahr`, and this method has another one; use 'fused'",
            reason="no-local",
        )
    return functional.normalize(embedded.extra["local"], dim=-1)
