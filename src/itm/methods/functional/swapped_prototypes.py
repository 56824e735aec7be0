"""Swapped assignments: prototypes of a caption predicted from its image, and the other way round."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SwappedPrototypes(nn.Module):
    """Unit prototypes, trained or fixed, and the swapped prediction of both modalities' codes.

    Args:
        prototypes: (prototypes, dimension) float, no zero row; normalised here. Random ones may come from
            `torch.randn`, fixed ones from a clustering.
        learn: true = a parameter (call `normalise` after each step), false = a buffer.
        epsilon, iterations: of the codes (`sinkhorn`).
        temperature: of the prediction.
    """

    prototypes: Tensor

    def __init__(self, prototypes: Tensor, *, learn: bool, epsilon: float, iterations: int, temperature: float) -> None:
        super().__init__()
        unit = functional.normalize(prototypes, dim=1)
        if learn:
            self.prototypes = nn.Parameter(unit)
        else:
            self.register_buffer("prototypes", unit)
        self.epsilon, self.iterations, self.temperature = epsilon, iterations, temperature

    def forward(self, images: Tensor, texts: Tensor, owner: Tensor) -> Tensor:
        """The mean over captions j with image i of CE(q_j, softmax(s_i / T)) + CE(q_i, softmax(s_j / T)).

        s = inner products with the prototypes, q = `codes` of all images or of all captions of the batch (SwAV,
        Caron et al. 2020, eq. 2, with the two modalities for the two views).

        Args:
            images: (images, dimension) float, unit vectors by rule.
            texts: (texts, dimension) float.
            owner: (texts,) long, the image of each caption.
        """
        of_images, of_texts = self.scores(images), self.scores(texts)
        image_codes, text_codes = self._codes(of_images)[owner], self._codes(of_texts)
        # the prediction of an image is the same for all its captions: taken once, then repeated
        from_image = torch.log_softmax(of_images / self.temperature, 1)[owner]
        from_text = torch.log_softmax(of_texts / self.temperature, 1)
        return -((text_codes * from_image).sum(1) + (image_codes * from_text).sum(1)).mean()

    def scores(self, vectors: Tensor) -> Tensor:
        """Inner products (rows, prototypes)."""
        return vectors @ self.prototypes.T

    def codes(self, vectors: Tensor) -> Tensor:
        """Balanced soft assignments (rows, prototypes) of all rows together, without a gradient; rows sum to 1."""
        return self._codes(self.scores(vectors))

    def _codes(self, scores: Tensor) -> Tensor:
        return sinkhorn(scores.detach(), self.epsilon, self.iterations)

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring trained prototypes back to unit length."""
        self.prototypes.copy_(functional.normalize(self.prototypes, dim=1))


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes (rows, prototypes) >= 0 whose rows sum to 1 and whose columns sum to about rows / prototypes; no gradient.

    Q = diag(u) exp(scores / epsilon) diag(v), by turns scaled to equal columns and to unit rows (Cuturi 2013; as SwAV
    uses it, Caron et al. 2020, section 3.1). The last scaling is that of the rows: they sum to 1 exactly, the columns
    only in the limit. Computed on logarithms: exp(1 / 0.05) twice over is more than half precision holds.

    Args:
        scores: (rows, prototypes) float, e.g. inner products with unit prototypes.
        epsilon: softness > 0; towards 0 each row goes to one prototype.
        iterations: 1 or more.

    >>> sinkhorn(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), 1.0, 3).tolist()  # one prototype cannot have both rows
    [[0.5, 0.5], [0.5, 0.5]]
    """
    log = scores / epsilon
    share = math.log(len(scores) / scores.shape[1])
    for _ in range(iterations):
        log = log - torch.logsumexp(log, 0, keepdim=True) + share
        log = log - torch.logsumexp(log, 1, keepdim=True)
    return log.exp()
