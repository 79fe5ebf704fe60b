"""Tasks that several optimizees share."""
