"""Differentiable plasticity: a Hebbian trace E beside each weight, which acts as w + alpha E.

Equations are those of Schmidgall et al. 2021, Frontiers in Neurorobotics 15:629210, section 2.
The trace changes every `delta_tau` ms from the spike averages over that time, so that the weights in use are
constant in between and a network can form them once an interval:

    for each interval:                                    # the same as rule.step in each step, and cheaper
        use = rule.effective(w, state)
        for each of rule.every(dt) steps:
            state = rule.observe(state, pre, post, signal)
        state = rule.update(state)

`step` needs no such loop and never changes `w`; the interface is that of every `Rule`. All parameters but `delta_tau`
can be trained by gradient; the loop needs a `delta_tau` that isn't traced, as it sets its length.

Legend: w and E (n_pre, n_post), the transpose of the source's; pre (n_pre,) and post (n_post,) spikes of this step;
x (n_pre,) and y (n_post,) their averages over the last interval, spikes a step, the source's r^(l-1) and r^(l);
`signal` the third factor, a scalar or (n_post,). A prime marks the value after an update. E is 0 at first.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, Shaped

from l2l_snn.snn.parameters import Array, check_synapses, fits
from l2l_snn.snn.plasticity.rule import Rule, bounded, check_spikes
from l2l_snn.validate import message


class TraceState(NamedTuple):
    """State of every rule of this family."""

    e: Array  # (n_pre, n_post) Hebbian trace E
    pre: Array  # (n_pre,) spikes since the last update
    post: Array  # (n_post,) spikes since the last update
    signal: Array  # (n_post,) sum of the third factor since the last update
    steps: Array  # () steps since the last update
    phi: Array  # (n_pre,) sliding threshold of BCM, spikes a step
    modulation: Array  # (n_post,) M of the last update


class TraceRule(Rule):
    """What rules of this family share; a final one declares the fields, in the order in which they are given."""

    alpha: Array  # what the trace adds to the weight, weight units
    delta_tau: Array  # ms between updates
    e_max: Array  # bound of |E|; inf for none

    @abstractmethod
    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        """Return the state with another E, and what else an update changes, of the averages x and y."""

    def init(self, n_pre: int, n_post: int) -> TraceState:
        """Return the state at the start of an episode: no trace. Refuses bad parameters that are not traced."""
        per_neuron = ((), (n_pre,))
        own = {"delta_tau": ((),), "psi": per_neuron, "eta_phi": per_neuron, "w_m": ((n_post, n_post),)}
        check_synapses(self, (n_pre, n_post), "delta_tau", "e_max", own)
        pre, post = jnp.zeros(n_pre), jnp.zeros(n_post)
        return TraceState(jnp.zeros((n_pre, n_post)), pre, post, post, jnp.zeros((), jnp.int32), pre, post)

    def effective(self, w: Shaped[Array, "n_pre n_post"], state: TraceState) -> Shaped[jax.Array, "n_pre n_post"]:
        """Return the weights that the network uses, w + alpha E (eq. 7); constant between two updates."""
        w = jnp.asarray(w)
        return (w + self.alpha * state.e).astype(w.dtype)

    def every(self, dt: float) -> Any:
        """Return the steps between two updates: an int, or traced if delta_tau or dt is."""
        if isinstance(self.delta_tau, Tracer) or isinstance(dt, Tracer):
            return jnp.maximum(jnp.round(self.delta_tau / dt), 1).astype(jnp.int32)
        steps = round(float(self.delta_tau) / dt)
        if steps < 1 or not np.isclose(steps * dt, float(self.delta_tau), rtol=1e-6):
            argument = f"{type(self).__name__}.delta_tau"
            raise ValueError(message(argument, f"a whole number of steps of {dt} ms", f"{self.delta_tau} ms"))
        return steps

    def observe(self, state: TraceState, pre: Array, post: Array, signal: Array = 0.0) -> TraceState:
        """Return the state with the spikes and the third factor of one step counted."""
        check_spikes(self, state.e, pre, post)
        if not fits(jnp.shape(signal), state.post.shape):
            expected = f"a scalar or shape {state.post.shape}"
            raise ValueError(message(f"{type(self).__name__}.observe signal", expected, f"shape {jnp.shape(signal)}"))
        return state._replace(
            pre=state.pre + jnp.asarray(pre, state.pre.dtype),
            post=state.post + jnp.asarray(post, state.post.dtype),
            signal=state.signal + jnp.asarray(signal, state.signal.dtype),
            steps=state.steps + 1,
        )

    def update(self, state: TraceState) -> TraceState:
        """Return the state after an update: E clipped, nothing counted yet."""
        steps = jnp.maximum(state.steps, 1)
        new = self.learn(state, state.pre / steps, state.post / steps)
        counts = {name: jnp.zeros_like(getattr(state, name)) for name in ("pre", "post", "signal", "steps")}
        new = new._replace(e=bounded(new.e, -self.e_max, self.e_max), **counts)
        return jax.tree.map(lambda value, old: value.astype(old.dtype), new, state)

    def step(
        self, state: TraceState, w: Array, pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[TraceState, Array]:
        """Observe one step, and update the trace if delta_tau is over; `w` is returned as it is."""
        state = self.observe(state, pre, post, signal)
        return jax.lax.cond(state.steps >= self.every(dt), self.update, lambda same: same, state), w


def _compute_modulation(rule: "NDPOja | NDPBCM", state: TraceState, y: Array) -> Array:
    """Return M = W_m y (eq. 17, 21) plus the average of the third factor, which eq. 15 leaves open."""
    own = 0.0 if rule.w_m is None else y @ rule.w_m
    return own + state.signal / jnp.maximum(state.steps, 1)


def _slide_threshold(rule: "DPBCM | NDPBCM", state: TraceState, x: Array) -> tuple[Array, Array]:
    """Return x_beta (eq. 13, 19) and phi' (eq. 14, 20 with omega the identity)."""
    x_beta = x * (x - (state.phi + rule.psi))
    return x_beta, (1 - rule.eta_phi) * state.phi + rule.eta_phi * x


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DPLinearDecay(TraceRule):
    """DP-linear decay: E' = (1 - eta) E + eta x y^T (eq. 10); no third factor.

    Eq. 10 prints (rho^(l))^T rho^(l-1); the text below it, rho^(l) (rho^(l-1))^T, gives the shape of E: an outer
    product. The activity rho is left open there; spike averages are taken, as for the other rules.
    """

    eta: Array = 0.05  # share of the trace that an update replaces
    alpha: Array = 1.0  # what the trace adds to the weight, weight units
    delta_tau: Array = 25.0  # ms between updates
    e_max: Array = 3.0  # bound of |E|: "often clipped"; inf for none

    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        return state._replace(e=(1 - self.eta) * state.e + self.eta * x[:, None] * y[None, :])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DPOja(TraceRule):
    """DP-Oja's: E' = (1 - eta) E + eta x (y - E^T x)^T (eq. 11); no third factor.

    The transpose in eq. 11 stands for an outer product of r^(l) - E r^(l-1) with r^(l-1), as in eq. 16. So read, the
    equation is consistent, but pre and post have each other's place in Oja's rule, and what it finds isn't a principal
    component: its fixed point is the ridge regression of y on x, E = (<x x^T> + 1)^-1 <x y^T>. Oja's own rule is `Oja`.
    """

    eta: Array = 0.05  # share of the trace that an update replaces
    alpha: Array = 1.0  # what the trace adds to the weight, weight units
    delta_tau: Array = 25.0  # ms between updates
    e_max: Array = 3.0  # bound of |E|; inf for none

    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        error = y - x @ state.e
        return state._replace(e=(1 - self.eta) * state.e + self.eta * x[:, None] * error[None, :])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Oja(TraceRule):
    """Oja's rule of 1982 as a differentiable trace: E' = E + eta (x y^T - E diag(y^2)); no third factor.

    It does what the text beside eq. 11 says ("enables the neuron to perform PCA"); without the (1 - eta) of eq. 11,
    which would shorten the result. For y = E^T x every column of E turns into the first principal component of the
    inputs, the leading eigenvector of <x x^T>, at length 1.
    """

    eta: Array = 0.05  # step
    alpha: Array = 1.0  # what the trace adds to the weight, weight units
    delta_tau: Array = 25.0  # ms between updates
    e_max: Array = 3.0  # bound of |E|; inf for none

    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        return state._replace(e=state.e + self.eta * (x[:, None] - state.e * y[None, :]) * y[None, :])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DPBCM(TraceRule):
    """DP-BCM: E' = (1 - eta) E + eta x_beta y^T, x_beta = x (x - (phi + psi)) (eq. 12-13); no third factor.

    The threshold phi + psi between depression and potentiation slides with the activity, phi' = (1 - eta_phi) phi +
    eta_phi x (eq. 14, omega the identity); E' takes the old phi. The source's equations and text both put it on the pre
    side; in Bienenstock et al. 1982 it belongs to the post neuron.
    """

    eta: Array = 0.05  # share of the trace that an update replaces
    alpha: Array = 1.0  # what the trace adds to the weight, weight units
    psi: Array = 0.0  # fixed part of the threshold, spikes a step; a number or (n_pre,)
    eta_phi: Array = 0.05  # share of phi that an update replaces; a number or (n_pre,)
    delta_tau: Array = 25.0  # ms between updates
    e_max: Array = 3.0  # bound of |E|; inf for none

    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        x_beta, phi = _slide_threshold(self, state, x)
        return state._replace(e=(1 - self.eta) * state.e + self.eta * x_beta[:, None] * y[None, :], phi=phi)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NDPOja(TraceRule):
    """NDP-Oja's: E' = (1 - eta) E + eta x (M y - E^T x)^T (eq. 16), M = W_m y (eq. 17) plus the third factor.

    M multiplies y alone, as eq. 16 prints it: with M = 0 nothing is learned, and what there is decays. The third
    factor is `signal` averaged over the interval, for a reward or another network's output (eq. 15); 0 gives eq. 17.
    """

    uses_signal: ClassVar[bool] = True
    w_m: Array | None = None  # (n_post, n_post), the transpose of W_m; None: M is the third factor alone
    eta: Array = 0.05  # share of the trace that an update replaces
    alpha: Array = 1.0  # what the trace adds to the weight, weight units
    delta_tau: Array = 25.0  # ms between updates
    e_max: Array = 3.0  # bound of |E|; inf for none

    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        m = _compute_modulation(self, state, y)
        error = m * y - x @ state.e
        e = (1 - self.eta) * state.e + self.eta * x[:, None] * error[None, :]
        return state._replace(e=e, modulation=m)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NDPBCM(TraceRule):
    """NDP-BCM: E' = (1 - eta) E + eta x_beta (M y)^T (eq. 18-21); M as in NDPOja, threshold as in DPBCM."""

    uses_signal: ClassVar[bool] = True
    w_m: Array | None = None  # (n_post, n_post), the transpose of W_m; None: M is the third factor alone
    eta: Array = 0.05  # share of the trace that an update replaces
    alpha: Array = 1.0  # what the trace adds to the weight, weight units
    psi: Array = 0.0  # fixed part of the threshold, spikes a step; a number or (n_pre,)
    eta_phi: Array = 0.05  # share of phi that an update replaces; a number or (n_pre,)
    delta_tau: Array = 25.0  # ms between updates
    e_max: Array = 3.0  # bound of |E|; inf for none

    def learn(self, state: TraceState, x: Float[jax.Array, " n_pre"], y: Float[jax.Array, " n_post"]) -> TraceState:
        m = _compute_modulation(self, state, y)
        x_beta, phi = _slide_threshold(self, state, x)
        e = (1 - self.eta) * state.e + self.eta * x_beta[:, None] * (m * y)[None, :]
        return state._replace(e=e, phi=phi, modulation=m)
