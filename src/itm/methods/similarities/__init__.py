"""The similarities: how features become what is compared, and how pairs are compared."""
