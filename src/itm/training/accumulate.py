"""The gradient of a batch that does not fit into memory, exact for losses that compare everything in the batch.

Summing the gradients of small batches would be another loss, with fewer negatives. So (Gao et al. 2021, "Scaling deep
contrastive learning batch size under memory limited setup") the batch is encoded in chunks without a graph, the loss
and its gradient for each embedding are taken over the whole batch, and each chunk is encoded again with a graph into
which the kept gradient goes. The second pass draws the same random numbers as the first. It costs one forward pass
more, and memory for one chunk and all embeddings.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from itm.errors import TrainingError, first_few
from itm.methods.method import Embedded


class Chunk:
    """A chunk encoded without a graph; `embedded` are leaves that collect the gradients of a loss."""

    def __init__(self, encode: Callable[[], Embedded], device: torch.device) -> None:
        self.encode, self.device = encode, device
        self.random = torch.get_rng_state()
        self.random_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        with torch.no_grad():
            found = encode()
        self.embedded = found
        for leaf in _differentiable(found):
            leaf.requires_grad_()

    def backward(self) -> None:
        """Encode again, with a graph, and send the collected gradients through it."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.set_rng_state(self.random)
            if self.random_cuda is not None:
                torch.cuda.set_rng_state(self.random_cuda, self.device)
            again = self.encode()
        outputs, gradients = [], []
        for output, leaf in zip(_differentiable(again), _differentiable(self.embedded), strict=True):
            if output.requires_grad and leaf.grad is not None:
                outputs.append(output)
                gradients.append(leaf.grad)
        if outputs:
            torch.autograd.backward(outputs, gradients)


def _differentiable(embedded: Embedded) -> list[Tensor]:
    tokens = [] if embedded.tokens is None else [embedded.tokens]
    return [embedded.embedding, *tokens, *embedded.extra.values()]


def check_chunks(modules: dict[str, nn.Module]) -> None:
    """Refuse modules in which the images of a batch meet before the loss.

    Raises:
        TrainingError: there is batch normalisation, whose statistics would be those of a chunk (reason "batch-norm").
    """
    found = [
        f"{room}.{name}"
        for room, module in modules.items()
        for name, layer in module.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    if found:
        raise TrainingError(
            f"train.chunk_images: {len(found)} layers normalise over the batch ({first_few(found)}), so a chunk's "
            "gradients would not be the batch's; set train.chunk_images: 0, or use towers without batch normalisation",
            reason="batch-norm",
        )
