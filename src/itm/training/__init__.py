"""The training loop: inputs, batches, optimiser, checkpoints, selection on the dev split."""
