"""Does a neuron model keep the contract of `Cell`?

Legend: N neurons, T steps.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.checks import engine
from l2l_snn.checks.common import Check, run_claims
from l2l_snn.snn.cells import Arriving, Cell
from l2l_snn.snn.surrogate import superspike
from l2l_snn.validate import message

STEPS = 60  # T


def check_cell(cell: Cell, *, dt: float = 1.0, silent: bool = True, seed: int = 1) -> list[Check]:
    """Check a neuron model against the contract of `Cell`, on random inputs so strong that it spikes.

    Args:
        cell: what to check; its parameters are numbers, not one for each neuron.
        dt: step, ms.
        silent: whether it should be silent without input: not where a constant current drives it.
        seed: of the inputs.
    """
    return run_claims(CLAIMS | (SILENT if silent else {}), Probe(cell, dt, seed))


class Probe:
    """A cell with inputs that make it spike."""

    def __init__(self, cell: Cell, dt: float, seed: int):
        self.cell = cell
        self.dt = dt
        self.seed = seed
        self.n = 3  # N

    def inputs(self, scale: float) -> Any:
        """Return T inputs, positive and negative ones, in the units of which the cell takes `scale`."""
        x = scale * np.random.default_rng(self.seed).normal(0.5, 1.0, (STEPS, self.n))
        if self.cell.receptors == 1:
            return jnp.asarray(x, float)
        both = np.stack([np.maximum(x, 0), np.minimum(x, 0)], axis=1)
        return Arriving(jnp.asarray(both, float), jnp.zeros((STEPS, self.n)))

    def roll(self, cell: Cell, state: Any, inputs: Any) -> Any:
        """Return the last state, and T outputs and potentials."""

        def one(state: Any, x: Any) -> Any:
            state, out = cell.step(state, x, self.dt)
            return state, (out, cell.potential(state))

        return jax.lax.scan(one, state, inputs)

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """`roll` of state and inputs, compiled with the parameters as numbers."""
        return jax.jit(lambda state, inputs: self.roll(self.cell, state, inputs))

    @cached_property
    def scale(self) -> float:
        """The least power of 4 at which inputs make every neuron spike; 1 for a cell that doesn't."""
        if not self.cell.spiking:
            return 1.0
        with engine.precision("float64"):
            for power in range(-6, 12):
                out = self.compiled(self.cell.init(self.n), self.inputs(4.0**power))[1][0]
                if np.asarray(out).sum(axis=0).min() > 1:
                    return 4.0**power
        raise ValueError(message("step: spikes", "some, of inputs up to 1e7", "none", "spiking = False for a readout"))

    @cached_property
    def known(self) -> Any:
        """What comes of the inputs in float64, from rest."""
        with engine.precision("float64"):
            return self.compiled(self.cell.init(self.n), self.inputs(self.scale))


def _check_state(probe: Probe) -> str:
    state = probe.cell.init(probe.n)
    text = engine.state_of_arrays(state)
    if text:
        return text
    for leaf in jax.tree.leaves(state):
        if leaf.shape[-1:] != (probe.n,):
            return message("init: state", f"arrays (..., {probe.n}), neurons last", f"shape {leaf.shape}")
    return ""


def _check_form(probe: Probe) -> str:
    for name in engine.PRECISIONS:
        with engine.precision(name):
            state, first = probe.cell.init(probe.n), jax.tree.map(lambda x: x[0], probe.inputs(1.0))
            after, out = jax.eval_shape(lambda state, x: probe.cell.step(state, x, probe.dt), state, first)
            text = engine.same_form(state, after, f"step: state in {name}")
            if text:
                return text
            for what, value in (
                ("step: spikes", out),
                ("potential", jax.eval_shape(lambda state: jnp.asarray(probe.cell.potential(state)), state)),
            ):
                if (value.shape, value.dtype) != ((probe.n,), name):
                    return message(f"{what} in {name}", f"({probe.n},) {name}", f"{value.shape} {value.dtype}")
    return ""


def _check_spikes(probe: Probe) -> str:
    if not probe.cell.spiking:
        return ""
    out = np.asarray(probe.known[1][0])
    return "" if set(np.unique(out)) <= {0.0, 1.0} else message("step: spikes", "0 or 1", np.unique(out)[:5])


def _check_finite(probe: Probe) -> str:
    return engine.finite(probe.known, "step: state, spikes")


def _check_pure(probe: Probe) -> str:
    with engine.precision("float64"):
        first = jax.tree.map(lambda x: x[0], probe.inputs(probe.scale))
        return engine.pure(lambda state, x: probe.cell.step(state, x, probe.dt), probe.cell.init(probe.n), first)


def _check_propagators(probe: Probe) -> str:
    with engine.precision("float64"):
        state, x = probe.known[0], jax.tree.map(lambda x: x[-1], probe.inputs(probe.scale))
        plain = probe.cell.step(state, x, probe.dt)
        given = probe.cell.step(state, x, probe.dt, probe.cell.propagators(probe.dt))
    return engine.close(plain, given, "step with propagators", "use those that are given, which are those of dt")


def _check_traced(probe: Probe) -> str:
    with engine.precision("float64"):
        cell = jax.tree.map(lambda value: jnp.asarray(value, float), probe.cell)
        roll = jax.jit(lambda cell, inputs: probe.roll(cell, cell.init(probe.n), inputs))
        found = roll(cell, probe.inputs(probe.scale))
    return engine.close(
        probe.known[1], found[1], "step with traced parameters", "use jax.numpy where they may be traced"
    )


def _check_mapped(probe: Probe) -> str:
    """Compare two states side by side with each alone; a network's batch is such a `vmap`."""
    with engine.precision("float64"):
        inputs = probe.inputs(probe.scale)
        states = jax.tree.map(lambda a, b: jnp.stack([a, b]), probe.cell.init(probe.n), probe.known[0])
        both = jax.jit(jax.vmap(lambda state: probe.roll(probe.cell, state, inputs)))(states)
        alone = probe.compiled(probe.known[0], inputs)
    first, second = (jax.tree.map(lambda x, i=i: x[i], both) for i in range(2))
    text = engine.close(probe.known[1], first[1], "step of the first of two under vmap")
    return text or engine.close(alone[1], second[1], "step of the second of two under vmap", "mix no neurons")


def _check_alone(probe: Probe) -> str:
    """Compare neurons whose neighbour's input changes."""
    with engine.precision("float64"):
        other = jax.tree.map(lambda x: x.at[..., 0].multiply(-0.5), probe.inputs(probe.scale))
        found = probe.compiled(probe.cell.init(probe.n), other)
    first, second = (jax.tree.map(lambda x: x[:, 1:], trains) for trains in (probe.known[1], found[1]))
    return engine.close(first, second, "step of a neuron whose neighbour's input changed", "mix no neurons")


def _check_gradient(probe: Probe) -> str:
    cell = probe.cell
    if "spike" in {field.name for field in fields(cell)}:
        cell = replace(cell, spike=superspike())
    trained = {name: float(value) for name, value in engine.numeric(cell).items() if np.isfinite(value)}
    with engine.precision("float64"):

        def loss(values: Any, inputs: Any) -> jax.Array:
            _, (out, v) = probe.roll(replace(cell, **values), cell.init(probe.n), inputs)
            return out.sum() + v.sum()

        slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(trained, probe.inputs(probe.scale))
    return engine.finite(slopes, "d potential / d parameters and inputs")


def _check_leak(probe: Probe) -> str:
    """Let a potential a little above rest decay: two half steps are one; of a cell `per_step` two steps of any `dt`."""
    cell = probe.cell
    with engine.precision("float64"):
        rest = cell.init(probe.n)
        leaves, structure = jax.tree.flatten(rest)
        silence = jax.tree.map(lambda x: 0 * x[0], probe.inputs(1.0))
        for i, leaf in enumerate(leaves):
            lifted = jax.tree.unflatten(structure, [*leaves[:i], leaf + 1e-3, *leaves[i + 1 :]])
            if leaf.dtype.kind != "f" or np.array_equal(cell.potential(lifted), cell.potential(rest)):
                continue
            whole = cell.step(lifted, silence, probe.dt)[0]
            half = cell.step(lifted, silence, probe.dt / 2)[0]
            if cell.per_step:
                name, todo = "potential after half a step", "leave out `dt`, as `per_step` says"
            else:
                half = cell.step(half, silence, probe.dt / 2)[0]
                name, todo = "potential after two half steps", "use exp(-dt / tau), not 1 - dt / tau"
            text = engine.close(cell.potential(whole), cell.potential(half), name, todo)
            if text:
                return text
    return ""


def _refuses_nan(probe: Probe) -> str:
    return engine.refuses(probe.cell, lambda cell: cell.init(probe.n), np.nan, "nan")


def _refuses_shapes(probe: Probe) -> str:
    values = np.ones(probe.n + 1)
    return engine.refuses(probe.cell, lambda cell: cell.init(probe.n), values, f"an array of {probe.n + 1}")


def _check_silent(probe: Probe) -> str:
    with engine.precision("float64"):
        inputs = jax.tree.map(jnp.zeros_like, probe.inputs(1.0))
        _, (out, v) = probe.compiled(probe.cell.init(probe.n), inputs)
    if np.any(np.asarray(out) != 0):
        return message("step: spikes", "none without input", f"{np.count_nonzero(out)} of {out.size}")
    return engine.close(v[0], v[-1], "potential without input", "let `init` return the state at rest")


CLAIMS: dict[str, Callable[[Probe], str]] = {
    "is a frozen dataclass": lambda probe: engine.frozen(probe.cell, Cell),
    "is a pytree of its parameters": lambda probe: engine.is_pytree(probe.cell),
    "has a NamedTuple of arrays as state, neurons last": _check_state,
    "keeps shapes and dtypes in float32 and in float64": _check_form,
    "spikes with 0 and 1, unless it says that it doesn't spike": _check_spikes,
    "stays finite": _check_finite,
    "changes no argument and repeats its results": _check_pure,
    "takes the propagators that it gives": _check_propagators,
    "gives the same with traced parameters": _check_traced,
    "gives the same under vmap": _check_mapped,
    "lets no neuron touch another": _check_alone,
    "has finite gradients": _check_gradient,
    "leaks exactly, whatever dt is, unless it counts in steps": _check_leak,
    "refuses nan in words": _refuses_nan,
    "refuses another shape in words": _refuses_shapes,
}
SILENT: dict[str, Callable[[Probe], str]] = {"is silent and at rest without input": _check_silent}
