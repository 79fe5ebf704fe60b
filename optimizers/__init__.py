"""Outer-loop algorithms, one a file; named in job files as `optimizers.file:Class`."""
