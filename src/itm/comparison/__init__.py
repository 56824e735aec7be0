"""Two revisions or experiments against each other: what changed, in figures and pictures, and whether it is chance."""
