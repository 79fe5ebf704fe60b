"""Inner loops, an experiment a folder; named in job files as `optimizees.folder:Class`."""
