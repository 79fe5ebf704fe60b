"""Spiking layers with a plastic trace beside each weight that act in an environment (001, section 3.2).

Place cells drive layers of SRM neurons without any loop; the last one has a population for each output. Within an
action the traces stand still, after it they change (`delta_tau` is T ms); at the end of an episode they are gone.

Legend: T steps of 1 ms an action, O numbers of an observation, A outputs, n_pre and n_post neurons of a layer.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn import differentiable as rules
from l2l_snn.snn.cells import Response, SRMAlpha, SRMConstants
from l2l_snn.snn.surrogate import exponential
from l2l_snn.space import Free
from l2l_snn.validate import AtLeast, Count, NotNegative, Positive, Within, message
from optimizees.gym.actions import Actions
from optimizees.gym.networks import Coding, Network

STEP = 1.0  # ms
RULES = {"none": None, "oja": rules.DPOja, "bcm": rules.DPBCM, "nd_oja": rules.NDPOja, "nd_bcm": rules.NDPBCM}


class LayerState(NamedTuple):
    """What a layer keeps from one action to the next."""

    arriving: Response  # (n_pre,) epsilon * s of the neurons before it
    refractory: Response  # (n_post,)
    trace: Any  # TraceState, or () without plasticity


@dataclass(frozen=True)
class PlasticLayers(Network):
    """The source's networks: none, DP-Oja's, DP-BCM, NDP-Oja's, NDP-BCM, on all layers, with its sizes as defaults.

    An output is eq. 3 of the supplement (`signed`: half of a population counts against the other half, in [-1, 1]), or
    a population's spikes a step (`rates`, for discrete actions), times `gain`.
    """

    rule: Literal["none", "oja", "bcm", "nd_oja", "nd_bcm"] = "nd_oja"
    coding: Coding = Coding("place", cells=50)
    hidden: tuple[Count, ...] = (64, 64)
    population: Annotated[int, AtLeast(2)] = 100  # neurons of an output; the second half counts negative
    output: Literal["signed", "rates"] = "signed"
    gain: Positive = 1.0  # of the outputs
    steps: Count = 50  # T
    w: Positive = 1.0  # of first weights, in v_th / sqrt(n_pre)
    alpha: Positive = 4.0  # mV, standard deviation of first alphas
    eta: NotNegative = 0.05  # mean of first eta and eta_phi ...
    eta_spread: Positive = 0.02  # ... and their standard deviation
    psi: Positive = 0.1  # spikes a ms, standard deviation of BCM's fixed thresholds
    w_m: Positive = 0.1  # the same of modulators' weights, times the root of how many there are
    e_max: Annotated[float, Within(0.0, open_low=True, finite=False)] = 3.0  # bound of the traces
    v_th: Positive = 10.0  # mV
    tau_s: Positive = 10.0  # ms
    tau_ref: Positive = 2.0  # ms
    scale_ref: NotNegative = 2.0  # thresholds
    surrogate_tau: Positive = 10.0  # mV
    surrogate_scale: Positive = 1.0

    @property
    def keeps_state(self) -> bool:
        return True

    @property
    def is_random(self) -> bool:
        return self.coding.kind == "place"

    def check_ends(self, inputs: int, actions: Actions) -> None:
        if self.output == "signed" and self.population % 2:
            raise ValueError(message("plastic.population", "an even number with output signed", self.population))
        if self.output == "rates" and not actions.discrete:
            raise ValueError(message("plastic.output", "signed with continuous actions, in [-1, 1]", self.output))

    def parameters(self, inputs: int, outputs: int) -> dict[str, Free]:
        found: dict[str, Free] = {}
        sizes = (self.coding.width(inputs), *self.hidden, outputs * self.population)
        for k, (pre, post) in enumerate(pairwise(sizes)):
            own = {"w": Free((pre, post), self.w * self.v_th * pre**-0.5)}
            if self.rule != "none":
                own |= {"alpha": Free((pre, post), self.alpha), "eta": Free((), self.eta_spread, self.eta)}
            if self.rule.endswith("bcm"):
                own |= {"psi": Free((pre,), self.psi), "eta_phi": Free((), self.eta_spread, self.eta)}
            if self.rule.startswith("nd"):
                own |= {"w_m": Free((post, post), self.w_m * post**-0.5)}
            found |= {f"{kind}_{k}": parameter for kind, parameter in own.items()}
        return found

    def init(self, params: dict[str, Any]) -> Any:
        states = []
        for k in range(len(self.hidden) + 1):
            pre, post = params[f"w_{k}"].shape
            rule = self._make_rule(params, k)
            before, own = (Response(jnp.zeros(n), jnp.zeros(n)) for n in (pre, post))
            states.append(LayerState(before, own, () if rule is None else rule.init(pre, post)))
        return tuple(states)

    def step(self, params: dict[str, Any], state: Any, seen: Any, key: Any) -> tuple[Any, Any, Any]:
        spikes, after, rates = self.coding.encode(key, seen, self.steps), [], []
        cell = self._make_cell()
        for k, layer in enumerate(state):
            layer, spikes = advance_layer(cell, self._make_rule(params, k), params[f"w_{k}"], layer, spikes)
            after.append(layer)
            rates.append(spikes.sum() / spikes.shape[1])
        counts = spikes.sum(axis=0).reshape(-1, self.population)
        half = self.population // 2
        if self.output == "signed":
            out = (counts[:, :half].sum(axis=1) - counts[:, half:].sum(axis=1)) / (self.steps * half)  # 000 eq. 3
        else:
            out = counts.mean(axis=1) / self.steps
        return tuple(after), self.gain * out, jnp.stack(rates).mean()

    def _make_cell(self) -> SRMAlpha:
        spike = exponential(self.surrogate_tau, self.surrogate_scale)
        return SRMAlpha(self.v_th, self.tau_s, self.tau_ref, self.scale_ref, spike)

    def _make_rule(self, params: dict[str, Any], k: int) -> Any:
        """Return the rule of layer k, None without plasticity."""
        kind = RULES[self.rule]
        if kind is None:
            return None
        own = {key.removesuffix(f"_{k}"): value for key, value in params.items() if key.endswith(f"_{k}")}
        del own["w"]
        return kind(**own, delta_tau=self.steps * STEP, e_max=self.e_max)


def advance_layer(cell: SRMAlpha, rule: Any, w: Any, state: LayerState, spikes: Any) -> tuple[LayerState, Any]:
    """Advance a layer by T steps in which its weights stand still, then let its traces learn (001, eq. 7-21).

    Args:
        cell: the neurons.
        rule: of `l2l_snn.snn.differentiable`, or None.
        w: (n_pre, n_post) mV.
        state: before.
        spikes: (T, n_pre) of the neurons before it.

    Returns:
        The state after, and its spikes (T, n_post).
    """
    k = SRMConstants(*(jnp.asarray(x, spikes.dtype) for x in cell.propagators(STEP)))

    def arrive(kernel: Response, s: Any) -> tuple[Response, Any]:
        a = k.decay_s * (kernel.a + k.rise_s * kernel.x)
        return Response(k.decay_s * kernel.x + s, a), a

    def fire(kernel: Response, psp: Any) -> tuple[Response, Any]:
        nu = k.decay_ref * (kernel.a + k.rise_ref * kernel.x)
        s = cell.spike(psp - cell.scale_ref * cell.v_th * nu - cell.v_th)
        return Response(k.decay_ref * kernel.x + s, nu), s

    arriving, response = jax.lax.scan(arrive, state.arriving, spikes)
    psp = response @ w if rule is None else _respond(rule, w, state.trace, response)
    refractory, own = jax.lax.scan(fire, state.refractory, psp)
    trace = state.trace
    if rule is not None:
        steps = jnp.full((), len(spikes), trace.steps.dtype)
        trace = _learn(rule, trace._replace(pre=spikes.sum(axis=0), post=own.sum(axis=0), steps=steps))
    return LayerState(arriving, refractory, trace), own


# A gradient keeps E of each action and nothing else that has a number for each synapse: making it anew is cheaper than
# the memory that it takes.


@partial(jax.checkpoint, prevent_cse=False)
def _respond(rule: Any, w: Any, trace: Any, response: Any) -> Any:
    return response @ rule.effective(w, trace)


@partial(jax.checkpoint, prevent_cse=False)
def _learn(rule: Any, trace: Any) -> Any:
    return rule.update(trace)
