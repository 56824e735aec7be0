"""What each of the processes of test_distributed.py runs: a short training, and the gradients of every method.

Of some with a trained text encoder, too: the tiny BERT in the folder `bert`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from itm.training.checkpoint import Checkpoint
from itm.training.distributed import Group, join

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import words
from small import EACH_CUT, METHODS, NORMED, gradients, trainer

CASES = [*((name, "features") for name in METHODS), *((name, "norms") for name in (*EACH_CUT, *sorted(NORMED)))]


def train(group: Group, out: Path) -> dict[str, Any]:
    """A short training with a checkpoint; what it recorded, and the weights it ends with."""
    engine = trainer("ditm", "norms", group=group, epochs=2, checkpoint=Checkpoint("run", out / str(group.rank)))
    outcome = engine.run()
    weights = {k: v for module in engine.modules.values() for k, v in module.state_dict().items()}
    return {"history": outcome.history, "weights": weights}


def compare(group: Group) -> dict[str, Any]:
    """The gradients of every method, and the state of one that remembers batches."""
    found = {f"{name} {kind}": gradients(name, kind, group=group) for name, kind in CASES} | {
        f"{name} chunks": gradients(name, "plain", group=group, chunk_images=3) for name in EACH_CUT
    }
    found["dropout"] = gradients("clip", "plain", dropout=0.5, group=group)
    kept = trainer("aahr", "features", group=group, epochs=2)
    state = {"history": kept.run().history, "state": kept.encoder.method.state_dict()}
    return {"gradients": found, "aahr": state}


def main(out: Path) -> None:
    with join(torch.device("cpu")) as group:
        spoken = {name: words.gradients(name, str(out / "bert"), group) for name in words.METHODS}
        torch.save(compare(group) | train(group, out) | {"words": spoken}, out / f"rank{group.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
