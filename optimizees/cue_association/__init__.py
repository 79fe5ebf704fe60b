"""Cue association by networks whose plasticity is trained through time."""

from optimizees.cue_association.optimizee import CueAssociation
from optimizees.cue_association.recurrent import RecurrentCueAssociation
from optimizees.cue_association.trials import Schedule

__all__ = ["CueAssociation", "RecurrentCueAssociation", "Schedule"]
