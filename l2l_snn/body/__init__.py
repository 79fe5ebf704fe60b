"""Limbs moved by muscles that spikes excite: activation, Hill-type muscles, an arm described in MJCF (Brand 2024)."""

from l2l_snn.body.activation import Activation, ActivationState
from l2l_snn.body.limb import Forces, Limb, LimbState
from l2l_snn.body.mjcf import Hinge, Skeleton, Strand, read_mjcf
from l2l_snn.body.muscle import HillMuscle

__all__ = [
    "Activation",
    "ActivationState",
    "Forces",
    "HillMuscle",
    "Hinge",
    "Limb",
    "LimbState",
    "Skeleton",
    "Strand",
    "read_mjcf",
]
