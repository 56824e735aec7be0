"""Two revisions or experiments against each other: differences in figures and pictures, and their tests."""
