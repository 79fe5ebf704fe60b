"""Plasticity rules of spike times: pair and triplet STDP, and STDP gated by a reward or by dopamine.

Every rule is a NamedTuple of parameters (scalars, or arrays that broadcast to (n_pre, n_post)) with the same methods:

    state = rule.init(n_pre, n_post)                        # refuses bad parameters that are not traced
    state, w = rule.step(state, w, pre, post, signal, dt)   # one time step
    rule.effective(w, state)                                # the weights that the network uses
    rule.every(dt)                                          # steps for which those stay the same; here 1

Legend: w (n_pre, n_post); pre (n_pre,) and post (n_post,) spikes of this step, 0 or 1; `signal` the third factor, a
scalar, (n_post,) or (n_pre, n_post); dt ms. A trace is (n_pre, 1) or (1, n_post), or (n_pre, n_post) where its time
constant is.

**The order of one step**, which is NEST's: traces decay; a post spike potentiates with the trace of earlier pre spikes;
a pre spike depresses with the trace of earlier post spikes; the spikes are added to the traces. So two
spikes in the same step don't pair, and if both sides spike the potentiation comes first. A spike delivers the
weight that its own step left behind.

**Delays.** NEST counts a delay d as dendritic: the synapse sees a pre spike when it is emitted and a post spike d
later. A rule sees what it is given: `pre` as emitted and `post` of d / dt steps ago make it equal to NEST's.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from l2l_snn.validate import check_count, message

Array: TypeAlias = Any  # a number, numpy or jax array, or a traced one


def check_parameters(rule: Any, shape: tuple[int, ...], positive: str, not_negative: str = "", own: str = "") -> None:
    """Refuse parameters outside their domain, as far as they are known before the program runs.

    Args:
        rule: a NamedTuple of parameters.
        shape: (n_pre, n_post), to which every parameter has to broadcast without a change of rank.
        positive: names of those that have to be > 0.
        not_negative: names of those that have to be >= 0.
        own: names of those whose shapes the rule checks itself.

    Raises:
        ValueError: a wrong shape, nan, a time constant that isn't positive, w_min above w_max...
    """
    kind = type(rule).__name__
    check_count(f"{kind}.init n_pre", shape[0])
    check_count(f"{kind}.init n_post", shape[1])
    for name, value in rule._asdict().items():
        if value is None:
            continue
        argument = f"{kind}.{name}"
        if name not in own.split() and not fits(jnp.shape(value), shape):
            expected = f"a number or an array that broadcasts to (n_pre, n_post) = {shape}"
            raise ValueError(message(argument, expected, f"shape {jnp.shape(value)}", "use [:, None] or [None, :]"))
        if isinstance(value, Tracer):
            continue
        numbers = np.asarray(value, dtype=np.float64).reshape(-1)
        low = 0.0 if name in (positive + " " + not_negative).split() else -np.inf
        bad = numbers[~(numbers > low if name in positive.split() else numbers >= low)]  # nan too
        if bad.size:
            sign = ">" if name in positive.split() else ">="
            raise ValueError(message(argument, "numbers" if low < 0 else f"{sign} 0", bad[0]))
    low, high = getattr(rule, "w_min", 0.0), getattr(rule, "w_max", np.inf)
    if not isinstance(low, Tracer) and not isinstance(high, Tracer):
        low, high = np.broadcast_arrays(np.asarray(low), np.asarray(high))
        if np.any(low > high):
            got = f"{low[low > high].flat[0]} with w_max {high[low > high].flat[0]}"
            raise ValueError(message(f"{kind}.w_min", "w_min <= w_max", got, "swap the bounds"))


def fits(have: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return whether `have` is () or broadcasts to `shape` without a change of rank."""
    return not have or (len(have) == len(shape) and all(n in (1, m) for n, m in zip(have, shape, strict=True)))


def check_spikes(rule: Any, w: Array, pre: Array, post: Array) -> None:
    """Refuse arguments of `step` whose shapes don't fit; shapes are known even where values are traced."""
    kind = type(rule).__name__
    if jnp.ndim(w) != 2 or not jnp.issubdtype(jnp.result_type(w), jnp.floating):
        got = f"shape {jnp.shape(w)} of {jnp.result_type(w)}"
        raise ValueError(message(f"{kind}.step w", "real numbers of shape (n_pre, n_post)", got))
    for name, spikes, n in (("pre", pre, jnp.shape(w)[0]), ("post", post, jnp.shape(w)[1])):
        if jnp.shape(spikes) != (n,):
            expected, got = f"shape ({n},) for weights of shape {jnp.shape(w)}", f"shape {jnp.shape(spikes)}"
            raise ValueError(message(f"{kind}.step {name}", expected, got, "batch by jax.vmap"))


def third_factor(rule: Any, signal: Array, shape: tuple[int, ...]) -> Array:
    """Return the third factor as a scalar, (1, n_post) or (n_pre, n_post)."""
    signal = jnp.asarray(signal)
    signal = signal[None, :] if signal.ndim == 1 else signal
    if not fits(signal.shape, shape):
        expected = f"a scalar, (n_post,) or an array that broadcasts to {shape}"
        raise ValueError(message(f"{type(rule).__name__}.step signal", expected, f"shape {signal.shape}"))
    return signal


def bounded(x: Array, low: Array, high: Array) -> Array:
    """Return `x` clipped to [low, high]; on a bound the slope is that of `x`, where jnp.clip halves it."""
    return jnp.where(x > high, high, jnp.where(x < low, low, x))


def power(x: Array, exponent: Array) -> Array:
    """Return x ** exponent; with an exponent other than 1, x <= 0 counts as 0 with slope 0: no infinite gradient."""
    if isinstance(exponent, (int, float)) and exponent in (0, 1):
        return x if exponent else jnp.ones_like(x)
    inside = x > 0
    return jnp.where(inside, jnp.where(inside, x, 1.0) ** exponent, jnp.where(jnp.equal(exponent, 0), 1.0, 0.0))


class Events(NamedTuple):
    """The two traces of a synapse, and how the spikes of one step read them."""

    pre: Array  # (n_pre, 1) decaying count of pre spikes; eq. 8
    post: Array  # (1, n_post) decaying count of post spikes; eq. 9

    def step(self, rule: Any, w: Array, pre: Array, post: Array, dt: Array) -> tuple["Events", Array, Array]:
        """Return the new traces and what pairs now: pre before post (n_pre, n_post), post before pre."""
        check_spikes(rule, w, pre, post)
        pre, post = jnp.asarray(pre, w.dtype)[:, None], jnp.asarray(post, w.dtype)[None, :]
        before = self.pre * jnp.exp(-dt / rule.tau_plus)
        after = self.post * jnp.exp(-dt / rule.tau_minus)
        traces = Events((before + pre).astype(self.pre.dtype), (after + post).astype(self.post.dtype))
        return traces, post * before, pre * after


def _events(rule: Any, n_pre: int, n_post: int) -> Events:
    return Events(_zeros((n_pre, 1), rule.tau_plus), _zeros((1, n_post), rule.tau_minus))


def _zeros(shape: tuple[int, ...], *like: Array) -> jax.Array:
    """Return zeros of `shape`, broadcast to the shapes of the parameters that will meet them."""
    return jnp.zeros(jnp.broadcast_shapes(shape, *(jnp.shape(value) for value in like)))


def _effective(self: Any, w: Array, state: Any) -> Array:
    """Return the weights that the network uses: `w` itself."""
    return w


def _every(self: Any, dt: float) -> int:
    """Return for how many steps the effective weights stay the same: 1."""
    return 1


class PairSTDP(NamedTuple):
    """Pair STDP with weight dependence, all spikes with all: NEST's stdp_synapse (Labady 2023, eq. 8-12).

    At a post spike, w += w_max lam (1 - w / w_max)^mu_plus K_pre (eq. 10); at a pre spike, w -= w_max alpha lam
    (w / w_max)^mu_minus K_post (eq. 11), after Guetig et al. 2003. Eq. 8-9 print only the decay of the traces: a spike
    adds 1, as in NEST. Eq. 12 is printed as w = min(max(w_min, w_dep), w_pot), where for alpha > 0 potentiation could
    never act and nothing would keep w below w_max: taken as clipping to [w_min, w_max], after each of the two. With
    alpha < 0, such as the printed -1.0, both orders potentiate.

    Differs from NEST: it has w_min = 0 and doesn't stop a negative alpha at w_max; it updates a synapse only when a pre
    spike passes, so weights are comparable there; it knows negative weights and w_max (inhibition), refused here:
    change the sign where the weight is used. `signal` is not used.
    """

    lam: Array = 0.01  # step size, the lambda of eq. 10-11
    alpha: Array = 1.0  # depression relative to potentiation; < 0 potentiates
    mu_plus: Array = 1.0  # exponent of the weight dependence of potentiation; 0 additive, 1 multiplicative
    mu_minus: Array = 1.0  # the same of depression
    tau_plus: Array = 20.0  # ms, trace of pre spikes
    tau_minus: Array = 20.0  # ms, trace of post spikes
    w_min: Array = 0.0  # pA, or the unit of the weights
    w_max: Array = 100.0  # pA, > 0

    def init(self, n_pre: int, n_post: int) -> Events:
        check_parameters(self, (n_pre, n_post), "tau_plus tau_minus w_max", "mu_plus mu_minus")
        return _events(self, n_pre, n_post)

    def step(
        self, state: Events, w: Array, pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[Events, jax.Array]:
        old = w = jnp.asarray(w)
        traces, ltp, ltd = state.step(self, w, pre, post, dt)
        w = w + self.w_max * self.lam * power(1 - w / self.w_max, self.mu_plus) * ltp  # eq. 10
        w = bounded(w, self.w_min, self.w_max)
        w = w - self.w_max * self.alpha * self.lam * power(w / self.w_max, self.mu_minus) * ltd  # eq. 11
        return traces, bounded(w, self.w_min, self.w_max).astype(old.dtype)  # eq. 12

    effective = _effective
    every = _every


class TripletState(NamedTuple):
    """Traces of triplet STDP, in the names of the paper: r of pre, o of post spikes, 1 fast, 2 slow."""

    fast: Events  # r1 and o1
    r2: Array  # (n_pre, 1)
    o2: Array  # (1, n_post)


class TripletSTDP(NamedTuple):
    """Triplet STDP, all spikes with all (Pfister & Gerstner 2006, eq. 3-4; NEST's stdp_triplet_synapse).

    At a post spike, w += r1 (a2_plus + a3_plus o2); at a pre spike, w -= o1 (a2_minus + a3_minus r2); r2 and o2 as they
    were just before the spike. Defaults: the paper's fit to visual cortex (all-to-all, full model), where w
    is relative to its first value. As in NEST the bounds are hard; w_min is 0 there. `signal` is not used.
    """

    a2_plus: Array = 5e-10  # weight units, pairs of pre before post
    a3_plus: Array = 6.2e-3  # weight units, post-pre-post
    a2_minus: Array = 7e-3  # weight units, pairs of post before pre
    a3_minus: Array = 2.3e-4  # weight units, pre-post-pre
    tau_plus: Array = 16.8  # ms, r1
    tau_minus: Array = 33.7  # ms, o1
    tau_x: Array = 101.0  # ms, r2
    tau_y: Array = 125.0  # ms, o2
    w_min: Array = 0.0
    w_max: Array = 100.0

    def init(self, n_pre: int, n_post: int) -> TripletState:
        check_parameters(self, (n_pre, n_post), "tau_plus tau_minus tau_x tau_y")
        return TripletState(
            _events(self, n_pre, n_post), _zeros((n_pre, 1), self.tau_x), _zeros((1, n_post), self.tau_y)
        )

    def step(
        self, state: TripletState, w: Array, pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[TripletState, jax.Array]:
        old = w = jnp.asarray(w)
        fast, ltp, ltd = state.fast.step(self, w, pre, post, dt)
        r2, o2 = state.r2 * jnp.exp(-dt / self.tau_x), state.o2 * jnp.exp(-dt / self.tau_y)
        w = bounded(w + ltp * (self.a2_plus + self.a3_plus * o2), self.w_min, self.w_max)
        w = bounded(w - ltd * (self.a2_minus + self.a3_minus * r2), self.w_min, self.w_max)
        r2 = (r2 + jnp.asarray(pre, old.dtype)[:, None]).astype(state.r2.dtype)
        o2 = (o2 + jnp.asarray(post, old.dtype)[None, :]).astype(state.o2.dtype)
        return TripletState(fast, r2, o2), w.astype(old.dtype)

    effective = _effective
    every = _every


class EligibilityState(NamedTuple):
    """Traces of reward-modulated STDP."""

    traces: Events
    e: Array  # (n_pre, n_post) eligibility


class RSTDP(NamedTuple):
    """Reward-modulated STDP with an eligibility trace (Labady 2023, eq. 2-3; Bing et al. 2019).

    dw = eta r STDP g (eq. 3). r is `signal`, the reward that arrives in this step, 0 in most; it may differ between
    post neurons or synapses, as the source's r_ij. STDP is what the eligibility trace holds of the pairings, those of
    this step included: e <- e exp(-dt / tau_e) + a_plus K_pre post - a_minus K_post pre; a tau_e far below dt leaves
    eq. 3's own window. g the source calls an "additional factor" only: a number for each synapse, 1 by default. A
    reward counts once, whatever dt is; one that lingers is DopamineSTDP's.
    """

    eta: Array = 0.01  # weight units per unit of reward and eligibility
    g: Array = 1.0  # factor of each synapse
    a_plus: Array = 1.0  # eligibility from pre before post
    a_minus: Array = 1.0  # eligibility from post before pre, subtracted
    tau_plus: Array = 20.0  # ms, trace of pre spikes
    tau_minus: Array = 20.0  # ms, trace of post spikes
    tau_e: Array = 500.0  # ms, eligibility
    w_min: Array = 0.0  # pA, or the unit of the weights
    w_max: Array = 100.0  # pA

    def init(self, n_pre: int, n_post: int) -> EligibilityState:
        check_parameters(self, (n_pre, n_post), "tau_plus tau_minus tau_e")
        return EligibilityState(_events(self, n_pre, n_post), _zeros((n_pre, n_post)))

    def step(
        self, state: EligibilityState, w: Array, pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[EligibilityState, jax.Array]:
        w = jnp.asarray(w)
        traces, ltp, ltd = state.traces.step(self, w, pre, post, dt)
        e = state.e * jnp.exp(-dt / self.tau_e) + self.a_plus * ltp - self.a_minus * ltd
        dw = self.eta * third_factor(self, signal, w.shape) * e * self.g  # eq. 3
        new = bounded(w + dw, self.w_min, self.w_max).astype(w.dtype)  # eq. 2
        return EligibilityState(traces, e.astype(state.e.dtype)), new

    effective = _effective
    every = _every


class DopamineState(NamedTuple):
    """Traces of dopamine-modulated STDP."""

    traces: Events
    c: Array  # (n_pre, n_post) eligibility
    n: Array  # (1, n_post) dopamine concentration, 1/ms


class DopamineSTDP(NamedTuple):
    """Dopamine-modulated STDP (Izhikevich 2007; Potjans et al. 2010; NEST's stdp_dopamine_synapse).

    dw/dt = c (n - b), integrated exactly over a step. c collects the pairings and decays with tau_c; n decays with
    tau_n and takes `signal` / tau_n, where `signal`, a scalar or (n_post,), is the number of dopamine spikes that
    arrive in this step, or any real number. In one step: w takes the integral from the step's start to its end; c and n
    decay; pairings and dopamine are added, so that both act from the next step on.

    Differs from NEST: w is kept in [w_min, w_max] at each step, there at pre, post and dopamine spikes and every
    deliver_interval, which matters only where n crosses b next to a bound. In NEST dopamine arrives late by the
    delay of the connection to the volume transmitter, and weights are up to date at pre spikes.
    """

    a_plus: Array = 1.0  # eligibility from pre before post
    a_minus: Array = 1.5  # eligibility from post before pre, subtracted
    tau_plus: Array = 20.0  # ms, trace of pre spikes
    tau_minus: Array = 20.0  # ms, trace of post spikes
    tau_c: Array = 1000.0  # ms, eligibility
    tau_n: Array = 200.0  # ms, dopamine
    b: Array = 0.0  # 1/ms, baseline of dopamine
    w_min: Array = 0.0  # pA, or the unit of the weights
    w_max: Array = 200.0  # pA

    def init(self, n_pre: int, n_post: int) -> DopamineState:
        check_parameters(self, (n_pre, n_post), "tau_plus tau_minus tau_c tau_n")
        return DopamineState(_events(self, n_pre, n_post), _zeros((n_pre, n_post)), _zeros((1, n_post), self.tau_n))

    def step(
        self, state: DopamineState, w: Array, pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[DopamineState, jax.Array]:
        w = jnp.asarray(w)
        rate = 1 / self.tau_c + 1 / self.tau_n
        dw = -state.n / rate * jnp.expm1(-dt * rate) + self.b * self.tau_c * jnp.expm1(-dt / self.tau_c)
        new = bounded(w + state.c * dw, self.w_min, self.w_max).astype(w.dtype)
        traces, ltp, ltd = state.traces.step(self, w, pre, post, dt)
        c = state.c * jnp.exp(-dt / self.tau_c) + self.a_plus * ltp - self.a_minus * ltd
        n = state.n * jnp.exp(-dt / self.tau_n) + third_factor(self, signal, state.n.shape) / self.tau_n
        return DopamineState(traces, c.astype(state.c.dtype), n.astype(state.n.dtype)), new

    effective = _effective
    every = _every
