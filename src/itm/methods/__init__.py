"""The methods behind one interface: how features become embeddings, how pairs are scored, what is minimised."""
