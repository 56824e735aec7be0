"""What losses, similarities and additions are computed with."""
