"""Inner loops, one a file; named in job files as `optimizees.file:Class`."""
