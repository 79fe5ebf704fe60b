"""Cue association by networks whose plasticity is trained through time."""

from optimizees.cue_association.optimizee import CueAssociation

__all__ = ["CueAssociation"]
