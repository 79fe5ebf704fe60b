"""The arm's network by itself: it learns to follow a shifted sine (Brand 2024, appendix A).

Legend: E iterations, T steps of the body in one, N neurons of the reservoir.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import JaxOptimizee
from l2l_snn.snn.cells.current_lif import CurrentState
from l2l_snn.snn.fptt import forward_gradient
from l2l_snn.snn.parameters import Array
from l2l_snn.space import Real, Space
from l2l_snn.validate import Count, NotNegative, Positive, message
from optimizees.arm.brain import Brain

SUBSTEPS = 5  # steps of the network in one of the body, 1.25 ms


@dataclass(frozen=True)
class ShiftedSine(JaxOptimizee):
    """A sine drives two sensory neurons; the potential of an output neuron without spikes shall be that sine, later.

    Target: two thirds of the input, `shift` ms later. The weights to the output are trained as those of the arm: a
    step of gradient descent with Nesterov momentum a window, whose gradient is carried forward in time. Not given in
    the source: the sine's frequency, the shift, learning rate and momentum. Fitness: minus the last iteration's mean
    squared error.
    """

    brain: Brain = Brain()
    frequency: Positive = 1.0  # Hz
    shift: NotNegative = 40.0  # ms
    iterations: Count = 15  # E
    steps: Count = 1600  # T, steps of 1.25 ms
    window: Count = 20  # steps between updates
    side_by_side = False
    fitness_label = "fitness: - mean squared error (mV\u00b2)"

    def cross_check(self) -> None:
        if self.steps % self.window:
            raise ValueError(message("steps", f"a multiple of the window, {self.window} steps", self.steps))

    def make_space(self) -> Space:
        return Space(
            learning_rate=Real(1e-6, 1e-2, log=True), momentum=Real(0.0, 0.98), initial_range=Real(1e-3, 1.0, log=True)
        )

    def evaluate(self, params: dict[str, Any], key: Any, *, watch: bool) -> Any:
        """Return minus the last mean squared error (mV^2).

        Metrics: `loss_first`, `loss_last` (mV^2), `delay_first`, `delay_last` (ms by which the output's best
        correlation with the target is late), `rate_sensory`, `rate_reservoir` (Hz). Artifacts: loss (E,); target (T,),
        and output of the first and the last iteration (2, T), mV; spikes a step, sensory (T, 2), reservoir (T, N).
        """
        keys = jax.random.split(key)
        fixed = self.brain.sample_fixed(keys[0], 2)
        shape = self.brain.reservoir, 1
        first = params["initial_range"] * jax.random.uniform(keys[1], shape, float, -1, 1)
        rule = optax.sgd(params["learning_rate"], params["momentum"], nesterov=True)
        dt = SUBSTEPS * self.brain.dt
        time = dt * jnp.arange(self.steps)
        phase = 2 * jnp.pi * self.frequency / 1000
        signal, target = jnp.sin(phase * time), 2 / 3 * jnp.sin(phase * (time - self.shift))

        def think(state: Any, x: Array) -> tuple[Any, tuple[Array, Array]]:
            current = self.brain.currents(jnp.stack([x, -x]))

            def substep(state: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
                state, z_in, z = self.brain.think(fixed, state, current)
                return state, (z_in, z)

            return jax.lax.scan(substep, state, length=SUBSTEPS)

        _, (z_in, z) = jax.lax.scan(think, self.brain.init(2), signal)  # the same in all iterations
        decays = self.brain.cell.propagators(self.brain.dt)

        def read(w: Array, state: CurrentState, seen: tuple[Array, Array]) -> tuple[CurrentState, Array]:
            spikes, wanted = seen  # (SUBSTEPS, N), ()
            for one in spikes:
                v = decays.first * state.v + state.i * self.brain.dt
                state = CurrentState(v, decays.second * state.i + one @ w)
            return state, (state.v[0] - wanted) ** 2

        def windows(x: Array) -> Array:
            return x.reshape(-1, self.window, *x.shape[1:])

        def learn(carry: Any, seen: Any) -> tuple[Any, tuple[Array, Array]]:
            w, moments, state = carry
            loss, grad, after, _ = forward_gradient(read, w, state, seen)

            def watch_output(state: CurrentState, seen: Any) -> tuple[CurrentState, Array]:
                state, _ = read(w, state, seen)
                return state, state.v[0]

            _, output = jax.lax.scan(watch_output, state, seen)
            updates, moments = rule.update(grad, moments, w)
            return (w + updates, moments, after), (loss, output)

        def iterate(carry: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            w, moments = carry
            start = w, moments, CurrentState(jnp.zeros(1), jnp.zeros(1))
            (w, moments, _), (loss, output) = jax.lax.scan(learn, start, (windows(z), windows(target)))
            return (w, moments), (loss.sum() / self.steps, output.reshape(-1))

        _, (loss, output) = jax.lax.scan(iterate, (first, rule.init(first)), length=self.iterations)
        seconds = self.steps * dt / 1000
        found = {
            "loss_first": loss[0],
            "loss_last": loss[-1],
            "delay_first": dt * _delay(output[0], target),
            "delay_last": dt * _delay(output[-1], target),
            "rate_sensory": z_in.sum() / 2 / seconds,
            "rate_reservoir": z.sum() / self.brain.reservoir / seconds,
        }
        if watch:
            found |= {"loss": loss, "target": target, "output": output[jnp.array([0, -1])]}
            found |= {"sensory": z_in.sum(axis=1), "reservoir": z.sum(axis=1)}
        return -loss[-1], found

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write figure A.1: spikes, loss, output of the first and the last iteration."""
        from optimizees.arm import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        return [figures.isolated({"": one}, SUBSTEPS * self.brain.dt / 1000, folder / "isolated.png")]


def _delay(output: Array, target: Array) -> jax.Array:
    """Return by how many steps the output is late: the lag, up to 100 either way, of the largest correlation."""
    lags = jnp.arange(-100, 101)
    middle = slice(100, -100)
    late = jax.vmap(lambda lag: (jnp.roll(output, -lag)[middle] * target[middle]).sum())(lags)
    return lags[jnp.argmax(late)].astype(float)
