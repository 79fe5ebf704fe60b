"""Each claim about plasticity rules catches a class that breaks it, and all rules of ours keep them."""

import inspect
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.checks import CheckFailed, check_rule, require
from l2l_snn.checks.common import run_claims
from l2l_snn.checks.rule import CLAIMS, Probe
from l2l_snn.snn import differentiable, plasticity
from l2l_snn.snn.differentiable import DPLinearDecay
from l2l_snn.snn.parameters import check_synapses
from l2l_snn.snn.plasticity import Rule, WeightRule

pytestmark = pytest.mark.usefixtures("compiled_soon")
OURS = {rule for module in (plasticity, differentiable) for rule in vars(module).values() if inspect.isclass(rule)}
OURS = sorted(
    (rule for rule in OURS if issubclass(rule, Rule) and not inspect.isabstract(rule)), key=lambda r: r.__name__
)
COUNTER = itertools.count()


class State(NamedTuple):
    before: jax.Array  # (n_pre, 1) spikes of the step before


def rule_of(cls):
    return jax.tree_util.register_dataclass(dataclass(frozen=True)(cls))


@rule_of
class Hebb(WeightRule):
    """A small rule that keeps the contract."""

    eta: float = 0.01
    w_min: float = 0.0
    w_max: float = 1.0

    def init(self, n_pre, n_post):
        check_synapses(self, (n_pre, n_post), "w_max", "eta")
        return State(jnp.zeros((n_pre, 1)))

    def step(self, state, w, pre, post, signal, dt):
        w = jnp.asarray(w)
        new = jnp.clip(w + self.eta * state.before * post[None, :], self.w_min, self.w_max)
        return State(jnp.asarray(pre, state.before.dtype)[:, None]), new.astype(w.dtype)


class Undecorated(Hebb):
    extra: float = 0.0


@dataclass(frozen=True)
class NoPytree(Hebb):
    pass


@rule_of
class DictAsState(Hebb):
    def init(self, n_pre, n_post):
        return {"before": jnp.zeros((n_pre, 1))}


@rule_of
class SinglePrecision(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        state, w = super().step(state, w, pre, post, signal, dt)
        return state, w.astype(jnp.float32)


@rule_of
class NeverLearns(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        return state, w


@rule_of
class Decays(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        state, w = super().step(state, w, pre, post, signal, dt)
        return state, 0.99 * w


@rule_of
class NoBounds(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        return state, w + 10.0 * pre[:, None] * post[None, :]


@rule_of
class SecretReward(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        return super().step(state, w, pre, post * signal, signal, dt)


@rule_of
class NoReward(Hebb):
    uses_signal = True


@rule_of
class SaysFive(Hebb):
    def every(self, dt):
        return 5


@rule_of
class Remembers(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        return state, w + 0.01 * next(COUNTER)


@rule_of
class ReadsNumbers(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        return state, w + float(self.eta) * pre[:, None]


@rule_of
class LeavesJax(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        state, w = super().step(state, w, pre, post, signal, dt)
        return state, jax.pure_callback(lambda w: np.asarray(w), jax.ShapeDtypeStruct(w.shape, w.dtype), w)


@rule_of
class InfiniteSlope(Hebb):
    def step(self, state, w, pre, post, signal, dt):
        state, w = super().step(state, w, pre, post, signal, dt)
        return state, w + jnp.sqrt(0.0 * w)


@rule_of
class StepsTwice(DPLinearDecay):
    def step(self, state, w, pre, post, signal, dt):
        return super().step(state, w, 2 * pre, post, signal, dt)


@rule_of
class InfiniteWeights(Hebb):
    def effective(self, w, state):
        return jnp.where(w > -jnp.inf, jnp.inf, w)


@rule_of
class Unchecked(Hebb):
    def init(self, n_pre, n_post):
        return State(jnp.zeros((n_pre, 1)))


BROKEN = [
    (Undecorated(), "is a frozen dataclass", "put @dataclass"),
    (NoPytree(), "is a pytree of its parameters", "register_dataclass"),
    (DictAsState(), "has a NamedTuple of arrays as state", "NamedTuple of arrays, got dict"),
    (SinglePrecision(), "keeps shapes and dtypes in float32 and in float64", "float64 as before, got .* float32"),
    (NeverLearns(), "changes weights where neurons spike", "raise its rate"),
    (Decays(), "leaves weights alone without spikes, unless it says that it is homeostatic", "homeostatic = True"),
    (NoBounds(), "keeps weights finite and within w_min and w_max", "clip them"),
    (SecretReward(), "reads the third factor if it says so, and only then", "say uses_signal = True"),
    (NoReward(), "reads the third factor if it says so, and only then", "say uses_signal = False"),
    (SaysFive(), "keeps effective weights for as many steps as it says", "return 1 from every"),
    (Remembers(), "changes no argument and repeats its results", "the same bytes"),
    (ReadsNumbers(), "gives the same with traced parameters", "float"),
    (LeavesJax(), "gives the same under vmap", "vmap"),
    (InfiniteSlope(), "has finite gradients", "finite numbers"),
    (StepsTwice(), "learns in a network as in a loop, post spikes a delay later", "do the same"),
    (InfiniteWeights(), "leaves synapses out that a mask takes away", "let `effective` keep 0"),
    (Unchecked(), "refuses nan in words", "Unchecked.eta: .* where it is nan"),
    (Unchecked(), "refuses another shape in words", r"an array of \(4, 5\)"),
]


@pytest.mark.parametrize(("rule", "claim", "text"), BROKEN, ids=lambda value: type(value).__name__)
def test_a_broken_rule_is_caught_with_its_claim(rule, claim, text):
    checks = run_claims({claim: CLAIMS[claim]}, Probe(rule, 1.0, 1))
    with pytest.raises(CheckFailed, match=text):
        require(checks)


def test_every_claim_about_rules_has_a_broken_class():
    assert {claim for _, claim, _ in BROKEN} == set(CLAIMS)


def test_a_small_rule_keeps_the_contract_and_one_that_decays_may_say_so():
    assert require(check_rule(Hebb())) == list(CLAIMS)

    @rule_of
    class Homeostatic(Decays):
        homeostatic = True

    require(
        run_claims(
            {"rests": CLAIMS["leaves weights alone without spikes, unless it says that it is homeostatic"]},
            Probe(Homeostatic(), 1.0, 1),
        )
    )


@pytest.mark.parametrize("rule", OURS)
def test_every_rule_of_ours_keeps_the_contract(rule):
    require(check_rule(rule()))
