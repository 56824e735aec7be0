"""The losses of methods: numbers to minimise, from the similarities of a batch."""
