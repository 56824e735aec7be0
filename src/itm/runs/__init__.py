"""Many experiments: their results in one table, their checks, disk space and plans."""
