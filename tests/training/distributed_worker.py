"""What each of the processes of test_distributed.py runs: gradients of every method, then a short training."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from itm.training.checkpoint import Checkpoint
from itm.training.distributed import join

sys.path.insert(0, str(Path(__file__).parent))
from small import METHODS, gradients, trainer

KINDS = ("features", "norms", "plain")


def main(out: Path) -> None:
    with join(torch.device("cpu")) as group:
        found = {f"{name} {kind}": gradients(name, kind, group=group) for name in METHODS for kind in KINDS} | {
            f"{name} chunks": gradients(name, "plain", group=group, chunk_images=3) for name in METHODS
        }
        found["dropout"] = gradients("clip", "plain", dropout=0.5, group=group)
        engine = trainer("ditm", "norms", group=group, epochs=2, checkpoint=Checkpoint("run", out / str(group.rank)))
        outcome = engine.run()
        weights = {k: v for module in engine.modules.values() for k, v in module.state_dict().items()}
        kept = trainer("aahr", "features", group=group, epochs=2)
        state = {"history": kept.run().history, "state": kept.encoder.method.state_dict()}
        torch.save(
            {"gradients": found, "history": outcome.history, "weights": weights, "aahr": state},
            out / f"rank{group.rank}.pt",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
