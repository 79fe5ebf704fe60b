"""Each claim about cells catches a class that breaks it, and all cells of ours keep them."""

import inspect
import itertools
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.checks import Check, CheckFailed, check_cell, require
from l2l_snn.checks.cell import CLAIMS, SILENT, Probe
from l2l_snn.checks.common import run_claims
from l2l_snn.snn import cells
from l2l_snn.snn.parameters import check_neurons, exp_decay
from l2l_snn.snn.surrogate import Spike, heaviside

pytestmark = pytest.mark.usefixtures("compiled_soon")
OURS = [cell for cell in vars(cells).values() if inspect.isclass(cell) and issubclass(cell, cells.Cell)]
OURS = [cell for cell in OURS if not inspect.isabstract(cell)]
COUNTER = itertools.count()


class State(NamedTuple):
    v: jax.Array


def leaky(cls):
    return jax.tree_util.register_dataclass(dataclass(frozen=True)(cls))


@leaky
class Leaky(cells.Cell):
    """A small cell that keeps the contract."""

    tau_m: float = 20.0  # ms
    v_th: float = 1.0
    spike: Spike = heaviside

    def init(self, n):
        check_neurons(self, n, positive="tau_m v_th")
        return State(jnp.zeros(n))

    def propagators(self, dt):
        return (exp_decay(self.tau_m, dt),)

    def step(self, state, input, dt, propagators=None):
        (decay,) = propagators or self.propagators(dt)
        v = jnp.asarray(decay, state.v.dtype) * state.v + input
        spikes = self.spike(v - self.v_th)
        return State(v * (1 - spikes)), spikes

    def potential(self, state):
        return state.v


class Undecorated(Leaky):
    extra: float = 0.0


@dataclass(frozen=True)
class NoPytree(Leaky):
    pass


@leaky
class DictAsState(Leaky):
    def init(self, n):
        return {"v": jnp.zeros(n)}


@leaky
class SinglePrecision(Leaky):
    def step(self, state, input, dt, propagators=None):
        state, spikes = super().step(state, input, dt, propagators)
        return State(state.v.astype(jnp.float32)), spikes


@leaky
class TwoSpikes(Leaky):
    def step(self, state, input, dt, propagators=None):
        state, spikes = super().step(state, input, dt, propagators)
        return state, 2 * spikes


@leaky
class Diverges(Leaky):
    def step(self, state, input, dt, propagators=None):
        return State(-1e200 * state.v + input), self.spike(input - self.v_th)


@leaky
class Remembers(Leaky):
    def step(self, state, input, dt, propagators=None):
        return State(state.v + next(COUNTER)), self.spike(input - self.v_th)


@leaky
class WritesInput(Leaky):
    def step(self, state, input, dt, propagators=None):
        input *= 2.0
        return super().step(state, input, dt, propagators)


@leaky
class OtherPropagators(Leaky):
    def step(self, state, input, dt, propagators=None):
        return super().step(state, input, dt, self.propagators(2 * dt) if propagators else None)


@leaky
class ReadsNumbers(Leaky):
    def propagators(self, dt):
        return (np.exp(-dt / float(self.tau_m)),)


@leaky
class LeavesJax(Leaky):
    def step(self, state, input, dt, propagators=None):
        state, spikes = super().step(state, input, dt, propagators)
        same = jax.pure_callback(lambda v: np.asarray(v), jax.ShapeDtypeStruct(state.v.shape, state.v.dtype), state.v)
        return State(same), spikes


@leaky
class Competes(Leaky):
    def step(self, state, input, dt, propagators=None):
        return super().step(state, input - 0.1 * input.mean(), dt, propagators)


@leaky
class InfiniteSlope(Leaky):
    def step(self, state, input, dt, propagators=None):
        state, spikes = super().step(state, input, dt, propagators)
        return State(state.v + jnp.sqrt(0.0 * state.v)), spikes


@leaky
class Euler(Leaky):
    def propagators(self, dt):
        return (1 - dt / self.tau_m,)


@leaky
class Miscounts(Euler):
    per_step = True


@leaky
class Unchecked(Leaky):
    def init(self, n):
        return State(jnp.zeros(n))


@leaky
class Spontaneous(Leaky):
    def step(self, state, input, dt, propagators=None):
        return super().step(state, input + 0.2, dt, propagators)


BROKEN = [
    (Undecorated(), "is a frozen dataclass", "put @dataclass"),
    (NoPytree(), "is a pytree of its parameters", "register_dataclass"),
    (DictAsState(), "has a NamedTuple of arrays as state, neurons last", "NamedTuple of arrays, got dict"),
    (SinglePrecision(), "keeps shapes and dtypes in float32 and in float64", "float64 as before, got .* float32"),
    (TwoSpikes(), "spikes with 0 and 1, unless it says that it doesn't spike", "0 or 1"),
    (Diverges(), "stays finite", "finite numbers"),
    (Remembers(), "changes no argument and repeats its results", "the same bytes"),
    (WritesInput(), "changes no argument and repeats its results", "changed in place"),
    (OtherPropagators(), "takes the propagators that it gives", "those of dt"),
    (ReadsNumbers(), "gives the same with traced parameters", "float"),
    (LeavesJax(), "gives the same under vmap", "vmap"),
    (Competes(), "lets no neuron touch another", "mix no neurons"),
    (InfiniteSlope(), "has finite gradients", "finite numbers"),
    (Euler(), "leaks exactly, whatever dt is, unless it counts in steps", r"exp\(-dt / tau\)"),
    (Miscounts(), "leaks exactly, whatever dt is, unless it counts in steps", "leave out `dt`"),
    (Unchecked(), "refuses nan in words", "Unchecked.tau_m: .* where it is nan"),
    (Unchecked(), "refuses another shape in words", "an array of 4"),
    (Spontaneous(), "is silent and at rest without input", "none without input"),
]


@pytest.mark.parametrize(("cell", "claim", "text"), BROKEN, ids=lambda value: type(value).__name__)
def test_a_broken_cell_is_caught_with_its_claim(cell, claim, text):
    checks = run_claims({claim: (CLAIMS | SILENT)[claim]}, Probe(cell, 1.0, 1))
    with pytest.raises(CheckFailed, match=text):
        require(checks)


def test_every_claim_about_cells_has_a_broken_class():
    assert {claim for _, claim, _ in BROKEN} == set(CLAIMS | SILENT)


def test_a_small_cell_keeps_the_contract_and_may_be_driven_by_a_constant_current():
    assert require(check_cell(Leaky())) == list(CLAIMS | SILENT)
    assert require(check_cell(cells.IafPscDelta(I_e=1000.0), silent=False)) == list(CLAIMS)


@pytest.mark.parametrize("cell", OURS)
def test_every_cell_of_ours_keeps_the_contract(cell):
    require(check_cell(cell()))


def test_a_readout_that_does_not_say_so_is_caught():
    @leaky
    class Silent(cells.LeakyReadout):
        spiking: ClassVar[bool] = True

    checks: list[Check] = run_claims(
        {"spikes": CLAIMS["spikes with 0 and 1, unless it says that it doesn't spike"]}, Probe(Silent(), 1.0, 1)
    )
    with pytest.raises(CheckFailed, match="0 or 1"):
        require(checks)
