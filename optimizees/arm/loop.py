"""The closed loop of network, muscles and arm (Brand 2024, figure 2.3): one step of the body, and what it costs.

Legend: D sensed values, I sensory neurons, N neurons of the reservoir, M motor neurons and muscles, J hinges.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.body import Activation, HillMuscle, Limb, LimbState
from l2l_snn.body.geometry import muscles_of
from l2l_snn.snn.cells.current_lif import CurrentState
from l2l_snn.snn.parameters import Array
from l2l_snn.validate import Finite, NotNegative, Positive, Within, check_fields, message
from optimizees.arm.brain import Brain, BrainState, FixedWeights


class MotorState(NamedTuple):
    """What the trained weights act on at once: motor neurons, muscles, arm."""

    motor: CurrentState  # (M,)
    limb: LimbState


class LoopState(NamedTuple):
    """State of the closed loop."""

    brain: BrainState
    below: MotorState
    alive: Array  # () bool: the arm has not left its range


class Given(NamedTuple):
    """What a life doesn't change."""

    fixed: FixedWeights
    ratio: Array  # () tendon ratio


class Spikes(NamedTuple):
    """Numbers of spikes in one step of the body."""

    sensory: Array  # (I,)
    reservoir: Array  # (N,)
    motor: Array  # (M,)


@dataclass(frozen=True)
class Loop:
    """The network, its senses, the limb that it moves, and the loss of a step of the body (eq. 2.25, with options).

    loss = sum of q^2 + spike_cost (mean spikes of reservoir and of motor neurons)
           + contraction_cost (mean of squared activation levels)
    """

    brain: Brain = Brain()
    hinges: Literal[1, 2] = 1  # 2: over planes at a right angle, with four muscles
    xml: str = ""  # path of an arm of your own; "": arm.xml or arm_3d.xml beside this file
    engine: Literal["closed_form", "mjx"] = "closed_form"  # of the arm's motion; mjx needs the extra `mujoco`
    activation: Activation = Activation()
    muscle: HillMuscle = HillMuscle()
    rest_angle: Finite = 0.0  # rad, at which the muscles have their resting length
    sense: Literal["angle", "muscle"] = "angle"  # what sensory neurons code: angles, or lengths and tensions of muscles
    angle_span: Positive = 0.6  # rad, at which a sensory neuron fires at `brain.rate_high`
    stretch_span: Positive = 0.1  # the same in shares of the resting length of muscle and tendon
    tension_span: Positive = 2.0  # the same in F_max; an active muscle that is stretched pulls with about this
    max_angle: Annotated[float, Within(0.0, open_low=True)] = 1.2  # rad, beyond which an epoch is over
    spike_cost: NotNegative = 0.0  # rad^2 a spike
    contraction_cost: NotNegative = 0.0  # rad^2 at full activation

    def __post_init__(self) -> None:
        check_fields(self)
        for hinge in self.limb.skeleton.hinges:
            if self.max_angle > min(-hinge.low, hinge.high):
                expected = f"an angle within the range of {hinge.name}, {hinge.low:g} to {hinge.high:g} rad"
                raise ValueError(message("Loop.max_angle", expected, f"{self.max_angle:g} rad"))
        if self.brain.dt != self.activation.dt:
            raise ValueError(
                message("Loop.activation.dt", f"brain.dt, {self.brain.dt:g} ms", f"{self.activation.dt:g} ms")
            )

    @cached_property
    def limb(self) -> Limb:
        """The arm with its muscles."""
        own = Path(__file__).with_name("arm.xml" if self.hinges == 1 else "arm_3d.xml")
        return Limb(self.xml or str(own), self.activation, self.muscle, self.rest_angle, self.engine)

    @property
    def muscles(self) -> int:
        """M."""
        return len(self.limb.skeleton.strands)

    @property
    def sensed(self) -> int:
        """D: angles, or a length and a tension a muscle."""
        return len(self.limb.skeleton.hinges) if self.sense == "angle" else 2 * self.muscles

    @property
    def sensory(self) -> int:
        """I: two neurons an angle, or one a sensed value."""
        return 2 * self.sensed if self.sense == "angle" else self.sensed

    def init(self) -> LoopState:
        """Return all at rest, the arm upright."""
        below = MotorState(self.brain.cell.init(self.muscles), self.limb.init())
        return LoopState(self.brain.init(self.sensory), below, jnp.array(True))

    def sense_limb(self, limb: LimbState, ratio: Array) -> jax.Array:
        """Return what is sensed (D,): angles in rad; or stretch of M muscles and tensions in F_max.

        Spindles answer to stretch, Golgi tendon organs to tension (Zampieri & de Nooij 2021; the source's outlook).
        """
        if self.sense == "angle":
            return limb.q
        length, _ = muscles_of(self.limb.skeleton, limb.q)
        force = self.limb.forces(limb, ratio).force
        rest = self.limb.rest.astype(length.dtype)
        return jnp.concatenate([length / rest - 1, (force.active + force.passive) / self.muscle.f_max])

    def think(self, given: Given, state: BrainState, sensed: Array) -> tuple[BrainState, jax.Array, jax.Array]:
        """Return sensory neurons and reservoir a step of the network later, and their spikes (I,), (N,)."""
        if self.sense == "angle":
            sense = jnp.concatenate([sensed, -sensed]) / self.angle_span
        else:
            sense = jnp.concatenate(
                [sensed[: self.muscles] / self.stretch_span, sensed[self.muscles :] / self.tension_span]
            )
        return self.brain.think(given.fixed, state, self.brain.currents(sense))

    def excite(self, state: MotorState, current: Array) -> tuple[MotorState, jax.Array]:
        """Return motor neurons and muscles a step of the network later, and the spikes (M,), for input (M,)."""
        motor, spikes = self.brain.cell.step(state.motor, current, self.brain.dt)
        return MotorState(motor, self.limb.excite(state.limb, spikes)), spikes

    def move(self, state: MotorState, alive: Array, ratio: Array) -> MotorState:
        """Return the state after the arm's step; an arm that has left its range stays where it is."""
        moved = self.limb.move(state.limb, ratio)
        q, w = jnp.where(alive, moved.q, state.limb.q), jnp.where(alive, moved.w, 0.0)
        return state._replace(limb=moved._replace(q=q, w=w))

    def inside(self, state: MotorState) -> jax.Array:
        """Return whether all angles are within `max_angle`, ()."""
        return (jnp.abs(state.limb.q) <= self.max_angle).all()

    def cost(self, state: MotorState, motor: Array) -> jax.Array:
        """Return the loss () of a step of the body but for the reservoir's spikes; `motor` (M,) spikes in it."""
        cost = jnp.sum(state.limb.q**2)
        if self.spike_cost:
            cost += self.spike_cost * motor.mean()
        if self.contraction_cost:
            cost += self.contraction_cost * jnp.mean(state.limb.activation.level**2)
        return cost

    def step(self, given: Given, w: Array, state: LoopState) -> tuple[LoopState, jax.Array, Spikes]:
        """Return the state a step of the body later, its loss () and its spikes; w (N, M) are the trained weights.

        The loss of an arm that has left its range goes on, without a derivative.
        """
        sensed = self.sense_limb(state.below.limb, given.ratio)

        def substep(carry: tuple[BrainState, MotorState], _: None) -> tuple[Any, Spikes]:
            brain, below = carry
            brain, z_in, z = self.think(given, brain, sensed)
            below, z_out = self.excite(below, z @ w)
            return (brain, below), Spikes(z_in, z, z_out)

        (brain, below), spikes = jax.lax.scan(substep, (state.brain, state.below), length=self.limb.substeps)
        spikes = Spikes(*(s.sum(axis=0) for s in spikes))
        below = self.move(below, state.alive, given.ratio)
        cost = self.cost(below, spikes.motor)
        if self.spike_cost:
            cost += self.spike_cost * spikes.reservoir.mean()
        cost = jnp.where(state.alive, cost, jax.lax.stop_gradient(cost))
        return LoopState(brain, below, state.alive & self.inside(below)), cost, spikes
