"""An arm with its muscles: spikes in, angles out (Brand 2024, section 2.3-2.4).

Legend: M muscles, J hinges.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.body.activation import Activation, ActivationState
from l2l_snn.body.dynamics import Engine, Move, mover
from l2l_snn.body.geometry import muscles_of
from l2l_snn.body.mjcf import Skeleton, read_mjcf
from l2l_snn.body.muscle import Force, HillMuscle
from l2l_snn.snn.parameters import Array
from l2l_snn.validate import Finite, check_fields, check_multiple, message


class LimbState(NamedTuple):
    """State of a limb."""

    activation: ActivationState
    q: Array  # (J,) rad; 0: the arm stands upright
    w: Array  # (J,) rad/s


class Forces(NamedTuple):
    """What the muscles do in one step of the body."""

    force: Force  # (M,) N, active and passive
    fibre: Array  # (M,) length of the fibres in resting lengths
    torque: Array  # (J,) N m, of all muscles


@dataclass(frozen=True)
class Limb:
    """An arm described in XML, its muscles, and how spikes activate them.

    `excite` goes by steps of `activation.dt`, `move` by the XML's timestep, a multiple of it.
    """

    xml: str  # path of the MJCF file
    activation: Activation = Activation()
    muscle: HillMuscle = HillMuscle()
    rest_angle: Finite = 0.0  # rad, of all hinges, at which the muscles have their resting length
    engine: Engine = "closed_form"  # one hinge; mjx: MuJoCo's, any number

    def __post_init__(self) -> None:
        check_fields(self)
        check_multiple(
            "timestep of the XML", 1000 * self.skeleton.timestep, self.activation.dt, "activation.dt", least=1
        )
        for hinge in self.skeleton.hinges:
            if not hinge.low <= self.rest_angle <= hinge.high:
                expected = f"an angle within the range of {hinge.name}, {hinge.low:g} to {hinge.high:g} rad"
                raise ValueError(message("Limb.rest_angle", expected, f"{self.rest_angle:g} rad"))

    @cached_property
    def skeleton(self) -> Skeleton:
        """What the XML says."""
        return read_mjcf(Path(self.xml))

    @cached_property
    def substeps(self) -> int:
        """Steps of `excite` in one of `move`."""
        return round(1000 * self.skeleton.timestep / self.activation.dt)

    @cached_property
    def rest(self) -> np.ndarray:
        """Resting lengths of the muscles with their tendons (M,), m."""
        with jax.ensure_compile_time_eval():
            at = jnp.full(len(self.skeleton.hinges), self.rest_angle)
            return np.asarray(muscles_of(self.skeleton, at)[0], np.float64)

    @cached_property
    def _mover(self) -> Move:
        return mover(self.skeleton, self.engine)

    def init(self) -> LimbState:
        """Return the upright arm at rest."""
        still = jnp.zeros(len(self.skeleton.hinges))
        return LimbState(self.activation.init(len(self.skeleton.strands)), still, still)

    def excite(self, state: LimbState, spikes: Array) -> LimbState:
        """Return the state after one step of activation by spikes (M,)."""
        return state._replace(activation=self.activation.step(state.activation, spikes))

    def forces(self, state: LimbState, ratio: Array | None = None) -> Forces:
        """Return what the muscles do now; `ratio` () instead of the muscle's own tendon ratio."""
        length, arms = muscles_of(self.skeleton, state.q)
        fibre = self.muscle.fibre_length(length, self.rest.astype(length.dtype), ratio)
        force = self.muscle.pull(state.activation.level, fibre, arms @ state.w)
        return Forces(force, fibre, (force.active + force.passive) @ arms)

    def move(self, state: LimbState, ratio: Array | None = None) -> LimbState:
        """Return the state after one step of the body, the muscles' forces being those at its beginning."""
        q, w = self._mover(state.q, state.w, self.forces(state, ratio).torque)
        return state._replace(q=q, w=w)
