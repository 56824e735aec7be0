"""The methods behind one interface: a similarity, a loss, additions."""
