"""Training by several processes: each encodes its share of a batch, all compute the loss of the whole batch.

The scheme. Process r computes L / N of the same loss L from the embeddings of all N processes; what goes from one
process to another has a backward pass of its own; and the gradients of the parameters are summed in the end. So any
parameter, whether of an encoder or of the loss, gets the gradient that one process with the whole batch would give.
Every process then takes the same optimiser step, and the models stay equal without being sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function

from itm.errors import TrainingError
from itm.methods.functional.token_norm import MaskedBatchNorm
from itm.methods.method import Embedded
from itm.towers.base import batch_norms

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Group:
    """The processes of one training run; `Group()` is a process alone, for which everything here does nothing."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, rows: Array) -> Array:
        """The part of some rows that this process works on; parts differ by one row at most.

        >>> Group(1, 2).share(np.arange(5)).tolist()
        [3, 4]
        """
        return np.array_split(rows, self.size)[self.rank]

    def gather(self, embedded: Embedded) -> Embedded:
        """The embeddings of all processes in the order of the ranks, with gradients to those of this process.

        Every process must hold the same number of rows.
        """
        if self.size == 1:
            return embedded
        tokens, mask = embedded.tokens, embedded.mask
        if tokens is not None and mask is not None:
            # captions are cut at the longest of a share: all shares must be as wide as the widest one
            widest = torch.tensor(tokens.shape[1], device=tokens.device)
            distributed.all_reduce(widest, distributed.ReduceOp.MAX)
            missing = int(widest) - tokens.shape[1]
            tokens = self._gathered(nn.functional.pad(tokens, (0, 0, 0, missing)))
            mask = self._gathered(nn.functional.pad(mask, (0, missing)).to(torch.uint8)).bool()
        extra = {name: self._gathered(value) for name, value in embedded.extra.items()}
        return Embedded(self._gathered(embedded.embedding), tokens, mask, extra)

    def _gathered(self, local: Tensor) -> Tensor:
        found: Tensor = _Gather.apply(local, self.rank, self.size)  # type: ignore[no-untyped-call]
        return found

    def sum(self, local: Tensor) -> Tensor:
        """The sum over the processes, with gradients."""
        if self.size == 1:
            return local
        found: Tensor = _Sum.apply(local)  # type: ignore[no-untyped-call]
        return found

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of the parameters by their sums over the processes."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                kinds.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in kinds.values():
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            distributed.all_reduce(flat)
            for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view(gradient.shape))

    def gather_rows(self, rows: Array) -> Array:
        """The rows of all processes in the order of the ranks; processes may hold any number of them."""
        if self.size == 1:
            return rows
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, rows)
        return np.concatenate([part for part in parts if len(part)])

    def from_leader(self, value: Any) -> Any:
        """The value that the leading process gives; the others' values are dropped."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    @contextmanager
    def own_randomness(self, device: torch.device, *key: int) -> Iterator[None]:
        """Inside, random numbers differ between processes; they depend on the key and the rank only.

        Outside, all processes draw the same numbers: a loss that draws some must be the same loss everywhere.
        """
        if self.size == 1:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([*key, self.rank]).generate_state(1, np.uint64)[0] >> 1))
            yield


@contextmanager
def join(device: torch.device) -> Iterator[Group]:
    """The group of processes that torchrun started, or a process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


def check_devices(requested: str) -> None:
    """Refuse more processes than GPUs, before any of them waits for a GPU that will never be free.

    Raises:
        TrainingError: torchrun started more processes here than there are GPUs (reason "no-device").
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gpus = torch.cuda.device_count() if processes > 1 and requested != "cpu" else 0
    if gpus and processes > gpus:
        raise TrainingError(
            f"torchrun started {processes} processes, but this machine has {gpus} GPUs; use --nproc-per-node {gpus}",
            reason="no-device",
        )


def synchronise_norms(module: nn.Module, group: Group) -> None:
    """Let batch normalisation take its statistics from the whole batch, not from the share of one process.

    Raises:
        TrainingError: the module has a kind of batch normalisation that this does not know (reason "batch-norm").
    """
    if group.size == 1:
        return
    for name, layer in batch_norms(module):
        if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            layer.forward = _Synchronised(layer, group, layer.forward)
        elif isinstance(layer, MaskedBatchNorm):
            layer.normalise = _Synchronised(layer, group, layer.normalise)  # type: ignore[assignment,method-assign]
        else:
            raise TrainingError(
                f"{name}: {type(layer).__name__} cannot take its statistics over {group.size} processes; "
                "train with one process, or with frozen towers",
                reason="batch-norm",
            )


class _Synchronised:
    """The forward pass of a batch-normalisation layer with the mean and variance of all processes' rows."""

    def __init__(self, layer: Any, group: Group, alone: Callable[[Tensor], Tensor]) -> None:
        self.layer, self.group, self.alone = layer, group, alone

    def __call__(self, values: Tensor) -> Tensor:
        layer, group = self.layer, self.group
        if not layer.training:
            return self.alone(values)
        over, shape = [0, *range(2, values.ndim)], [1, -1] + [1] * (values.ndim - 2)
        # of real tokens, each process may hold another number
        rows = torch.tensor(float(values.numel() // values.shape[1]), device=values.device)
        count = int(group.sum(rows))
        mean = group.sum(values.float().sum(over)) / count
        centred = values.float() - mean.view(shape)
        variance = group.sum(centred.square().sum(over)) / count
        with torch.no_grad():
            layer.num_batches_tracked += 1
            layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)
            layer.running_var.lerp_((variance * count / (count - 1)).to(layer.running_var.dtype), layer.momentum)
        found: Tensor = centred * ((variance + layer.eps).rsqrt() * layer.weight).view(shape) + layer.bias.view(shape)
        return found.to(values.dtype)


class _Gather(Function):
    """Rows of all processes. Backward: every process computes the same loss / N, so the sum over the processes of
    the gradients for the rows of one of them is N times its own."""

    @staticmethod
    def forward(context: Any, local: Tensor, rank: int, size: int) -> Tensor:
        context.rank, context.size, context.rows = rank, size, len(local)
        parts = [torch.empty_like(local, memory_format=torch.contiguous_format) for _ in range(size)]
        distributed.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        first = context.rank * context.rows
        own: Tensor = gradients[0][first : first + context.rows] * context.size
        return own, None, None


class _Sum(Function):
    """The sum over the processes; its gradient is summed too, since each process uses the result in its own way."""

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:
        found = local.clone()
        distributed.all_reduce(found)
        return found

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        found = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(found)
        return found
