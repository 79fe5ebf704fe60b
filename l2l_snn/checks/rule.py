"""Does a plasticity rule keep the contract of `Rule`?

Legend: T steps; w (n_pre, n_post).
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
from l2l_snn.snn.cells import IafPscDelta
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import Rule
from l2l_snn.validate import message

SHAPE = (3, 2)  # n_pre, n_post
TODO_TRACED = "use jax.numpy where they may be traced"


def check_rule(rule: Rule, *, dt: float = 1.0, seed: int = 1) -> list[Check]:
    """Check a plasticity rule against the contract of `Rule`, on random spikes.

    Args:
        rule: what to check; its parameters are numbers, not one for each synapse.
        dt: step, ms.
        seed: of the spikes and of the first weights, which lie between the fields w_min and w_max where it has them.
    """
    return run_claims(CLAIMS, Probe(rule, dt, seed))


class Probe:
    """A rule with spikes to learn from."""

    def __init__(self, rule: Rule, dt: float, seed: int):
        self.rule = rule
        self.dt = dt
        self.seed = seed

    @cached_property
    def steps(self) -> int:
        """T: at least three updates."""
        return max(60, 3 * int(self.rule.every(self.dt)))

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest weight; w_min and w_max where the rule has them."""
        names = {field.name for field in fields(self.rule)} & {"w_min", "w_max"}
        known = {name: float(getattr(self.rule, name)) for name in names}
        return known.get("w_min", -np.inf), known.get("w_max", np.inf)

    def weights(self) -> np.ndarray:
        low, high = np.clip(self.bounds, -1.0, 10.0)
        return low + (high - low) * np.random.default_rng(self.seed).uniform(0.3, 0.7, SHAPE)

    def trains(self, rate: float = 0.3) -> list[np.ndarray]:
        """Return random spikes, (T, n_pre) and (T, n_post), of 0 and 1."""
        generator = np.random.default_rng(self.seed)
        return [1.0 * (generator.random((self.steps, n)) < rate) for n in SHAPE]

    def step(self, state: Any, w: Any, pre: Any, post: Any, signal: Any) -> Any:
        return self.rule.step(state, w, pre, post, signal, self.dt)

    def roll(self, rule: Rule, w: Any, pre: Any, post: Any, signal: Any) -> Any:
        """Return state and weights after T steps, and the weights that a network uses in each."""

        def one(carry: Any, x: Any) -> Any:
            state, w = rule.step(carry[0], carry[1], x[0], x[1], x[2], self.dt)
            return (state, w), rule.effective(w, state)

        return jax.lax.scan(one, (rule.init(*SHAPE), w), (pre, post, signal))

    def signals(self, value: float) -> np.ndarray:
        return np.full(self.steps, value)

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        return jax.jit(lambda w, pre, post, signal: self.roll(self.rule, w, pre, post, signal))

    def learn(self, *trains: np.ndarray, signal: float) -> Any:
        """Return what `roll` does in float64, compiled with the parameters as numbers."""
        with engine.precision("float64"):
            return self.compiled(self.weights(), *trains, self.signals(signal))

    @cached_property
    def known(self) -> Any:
        return self.learn(*self.trains(), signal=1.0)


def _check_state(probe: Probe) -> str:
    return engine.state_of_arrays(probe.rule.init(*SHAPE))


def _check_form(probe: Probe) -> str:
    for name in engine.PRECISIONS:
        with engine.precision(name):
            state, w = probe.rule.init(*SHAPE), jnp.asarray(probe.weights(), name)
            pre, post = (jnp.asarray(train[0], name) for train in probe.trains())
            after = jax.eval_shape(probe.step, state, w, pre, post, jnp.ones((), name))
            text = engine.same_form((state, w), after, f"step: state and w in {name}")
            use = jax.eval_shape(probe.rule.effective, w, state)
            text = text or engine.same_form(w, use, f"effective: w in {name}")
            if text:
                return text
    return ""


def _check_learns(probe: Probe) -> str:
    use = np.asarray(probe.known[1])
    if np.array_equal(use[-1], probe.weights()):
        return message("step: w", "other weights after random spikes and a signal of 1", "the same", "raise its rate")
    return ""


def _check_rests(probe: Probe) -> str:
    if probe.rule.homeostatic:
        return ""
    silent = [0 * train for train in probe.trains()]
    use = np.asarray(probe.learn(*silent, signal=1.0)[1])
    todo = "homeostatic = True for a decay or a target rate"
    changed = not np.array_equal(use[-1], probe.weights())
    return message("step: w", "the same weights without any spikes", "others", todo) if changed else ""


def _check_bounded(probe: Probe) -> str:
    low, high = probe.bounds
    for trains, signal in ((probe.trains(), 1.0), (probe.trains(0.9), 100.0), (probe.trains(0.9), -100.0)):
        use = np.asarray(probe.learn(*trains, signal=signal)[1])
        text = engine.finite(use, "effective: w")
        if text:
            return text
        if low > use.min() or use.max() > high:
            got = f"{use.min()} to {use.max()}"
            return message("step: w", f"weights in [w_min, w_max] = [{low}, {high}]", got, "clip them in each step")
    return ""


def _check_signal(probe: Probe) -> str:
    with_one, without = (np.asarray(probe.learn(*probe.trains(), signal=signal)[1]) for signal in (1.0, 0.0))
    reads = not np.array_equal(with_one, without)
    if reads == probe.rule.uses_signal:
        return ""
    got = "other weights" if reads else "the same weights"
    declared = f"uses_signal = {probe.rule.uses_signal}"
    return message(declared, "what it says", f"{got} with a signal of 1 and of 0", f"say uses_signal = {reads}")


def _check_interval(probe: Probe) -> str:
    """Hold that the effective weights stay the same for `every` steps."""
    every, use = int(probe.rule.every(probe.dt)), np.asarray(probe.known[1])
    whole = np.concatenate([probe.weights()[None], use])[: len(use) // every * every].reshape(-1, every, *SHAPE)
    if np.array_equal(whole, np.repeat(whole[:, :1], every, axis=1)):
        return ""
    return message("effective: w", f"the same for every({probe.dt:g}) = {every} steps", "others", "return 1 from every")


def _check_pure(probe: Probe) -> str:
    with engine.precision("float64"):
        pre, post = (train[0] for train in probe.trains())
        return engine.pure(probe.step, probe.rule.init(*SHAPE), probe.weights(), pre, post, np.ones(()))


def _check_traced(probe: Probe) -> str:
    with engine.precision("float64"):
        rule = jax.tree.map(lambda value: jnp.asarray(value, float), probe.rule)
        found = jax.jit(probe.roll)(rule, probe.weights(), *probe.trains(), probe.signals(1.0))
    return engine.close(probe.known[1], found[1], "step with traced parameters", TODO_TRACED)


def _check_mapped(probe: Probe) -> str:
    """Compare two episodes side by side with each alone; a network's batch is such a `vmap`."""
    with engine.precision("float64"):
        trains = [np.stack([train, train[::-1]]) for train in probe.trains()]
        both = jax.jit(
            jax.vmap(lambda pre, post: probe.roll(probe.rule, probe.weights(), pre, post, probe.signals(1.0)))
        )
        found = both(*trains)[1]
    other = probe.learn(*(train[::-1].copy() for train in probe.trains()), signal=1.0)[1]
    text = engine.close(probe.known[1], found[0], "step of the first of two under vmap")
    return text or engine.close(
        other, found[1], "step of the second of two under vmap", "share nothing between synapses"
    )


def _check_gradient(probe: Probe) -> str:
    trained = {name: float(value) for name, value in engine.numeric(probe.rule).items() if np.ndim(value) == 0}
    trained = {name: value for name, value in trained.items() if np.isfinite(value)}
    fixed = {"delta_tau"} if int(probe.rule.every(probe.dt)) > 1 else set()  # it counts steps and has no derivative
    trained = {name: value for name, value in trained.items() if name not in fixed}
    with engine.precision("float64"):

        def loss(values: Any, w: Any) -> jax.Array:
            rule = replace(probe.rule, **values)
            pre, post = probe.trains()
            return probe.roll(rule, w, pre, post, probe.signals(1.0))[1][-1].sum()

        slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(trained, probe.weights())
    return engine.finite(slopes, "d w / d parameters and first weights")


def _check_network(probe: Probe) -> str:
    """Compare a network with a delay to a loop that gives the rule the postsynaptic spikes of as much earlier."""
    delay = 2  # steps
    with engine.precision("float64"):
        rule, dt, (pre, _) = probe.rule, probe.dt, probe.trains()
        T = probe.steps // int(rule.every(dt)) * int(rule.every(dt))
        pre, current = pre[:T], 8000.0 * probe.trains()[1][:T]  # pA, which makes the neurons spike
        net = Network(
            {"pre": Population(SHAPE[0]), "post": Population(SHAPE[1], IafPscDelta())},
            {"w": Projection("pre", "post", delay=delay * dt, rule=rule)},
            dt,
        )

        @jax.jit
        def both(w: Any, pre: Any, current: Any, signal: Any) -> Any:
            end, record = net.rollout(
                net.init({"w": w}), spikes={"pre": pre}, currents={"post": current}, signals={"w": signal}
            )
            post = record.spikes["post"]
            late = jnp.concatenate([jnp.zeros((delay, SHAPE[1])), post])[:T]
            return rule.effective(end.weights["w"], end.rules["w"]), probe.roll(rule, w, pre, late, signal)[1][-1]

        use, expected = both(probe.weights(), pre, current, probe.signals(1.0)[:T])
    return engine.close(expected, use, "w in a network with a delay", "let `step` and `update` do the same")


def _check_mask(probe: Probe) -> str:
    """Drive a network through synapses that a mask takes away."""
    with engine.precision("float64"):
        mask = np.array([[1.0, 0.0]] * SHAPE[0])
        net = Network(
            {"pre": Population(SHAPE[0]), "post": Population(SHAPE[1], IafPscDelta())},
            {"w": Projection("pre", "post", delay=probe.dt, mask=mask, rule=probe.rule)},
            probe.dt,
        )
        T = probe.steps // int(probe.rule.every(probe.dt)) * int(probe.rule.every(probe.dt))

        @jax.jit
        def run(w: Any, pre: Any) -> Any:
            return net.rollout(net.init({"w": w}), spikes={"pre": pre}, record=("potentials",))[1]

        v = np.asarray(run(probe.weights(), probe.trains()[0][:T]).potentials["post"])
    if (v[:, 1] != IafPscDelta().E_L).any():
        return message("w in a network with a mask", "no effect where the mask is 0", "one", "let `effective` keep 0")
    return ""


def _refuses_nan(probe: Probe) -> str:
    return engine.refuses(probe.rule, lambda rule: rule.init(*SHAPE), np.nan, "nan")


def _refuses_shapes(probe: Probe) -> str:
    return engine.refuses(probe.rule, lambda rule: rule.init(*SHAPE), np.ones((4, 5)), "an array of (4, 5)")


CLAIMS: dict[str, Callable[[Probe], str]] = {
    "is a frozen dataclass": lambda probe: engine.frozen(probe.rule, Rule),
    "is a pytree of its parameters": lambda probe: engine.is_pytree(probe.rule),
    "has a NamedTuple of arrays as state": _check_state,
    "keeps shapes and dtypes in float32 and in float64": _check_form,
    "changes weights where neurons spike": _check_learns,
    "leaves weights alone without spikes, unless it says that it is homeostatic": _check_rests,
    "keeps weights finite and within w_min and w_max": _check_bounded,
    "reads the third factor if it says so, and only then": _check_signal,
    "keeps effective weights for as many steps as it says": _check_interval,
    "changes no argument and repeats its results": _check_pure,
    "gives the same with traced parameters": _check_traced,
    "gives the same under vmap": _check_mapped,
    "has finite gradients": _check_gradient,
    "learns in a network as in a loop, post spikes a delay later": _check_network,
    "leaves synapses out that a mask takes away": _check_mask,
    "refuses nan in words": _refuses_nan,
    "refuses another shape in words": _refuses_shapes,
}
