"""Functions that losses, similarities and additions share."""
