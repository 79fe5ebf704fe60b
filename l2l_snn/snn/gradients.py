"""Gradients of a network's weights: what every rule takes and gives; the rules are in bptt.py, fptt.py and eprop.py.

    rule = BPTT(checkpoint_every=100)         # of bptt.py; or BPTT(truncate=20), FPTT(), EProp()
    found = rule(net, state, loss, targets, spikes={"in": trains}, record=("spikes.out",))
    updates, memory = optimiser.update(found.weights, memory)        # {"in": (n_pre, n_post), ...}
    more = rule(net, found.state, loss, later, ...)                  # goes on from where this one ended

    def loss(record, targets):                # a sum over steps: record and targets have the steps in front
        return jnp.sum((record.spikes["out"] - targets) ** 2)

| rule | gradient | memory over T steps | work, in forward passes |
| --- | --- | --- | --- |
| BPTT | exact | T, or sqrt(T) with checkpoints | 3, or 4 |
| BPTT(truncate=k) | without what reaches back over a multiple of k steps | k | 3 |
| FPTT | exact | none | as many as there are trained weights |
| EProp | without what goes from spikes to other neurons' spikes | none | one number a synapse and state variable |

All go forward from any state and take the same arguments. All but BPTT without `truncate` see the loss piece by
piece (a step at a time, or k), so it has to be a sum over steps; BPTT alone takes any function of the whole record.
What a step of surrogate.py passes back counts as its derivative throughout.

Legend: T steps; B batch; N neurons.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.network import Network
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.state import Inputs, Record, State
from l2l_snn.validate import did_you_mean, message

Loss = Callable[[Record, Any], Array]  # (record of some steps, targets of the same steps) -> ()


class Gradient(NamedTuple):
    """What a rule found."""

    loss: Array  # () summed over the steps
    weights: dict[str, Array]  # d loss / d weights of each trained projection, in the weights' shape
    state: State  # of the network after the last step


class Problem(NamedTuple):
    """What all rules work on: checked arguments of one call."""

    net: Network
    loss: Loss
    record: tuple[str, ...]
    constant: dict[str, Array]  # currents without a time axis
    theta: dict[str, Array]  # the trained weights, which `state` holds too
    steps: int
    xs: tuple[Inputs, Any]  # inputs and targets, time in front

    def rollout(self, state: State, inputs: Inputs, n: int, **options: Any) -> tuple[State, Record]:
        """Return the state after n steps, and the record."""
        options = {"record": self.record} | options
        return self.net.rollout(
            state,
            spikes=inputs.spikes,
            currents=self.constant | inputs.currents,
            signals=inputs.signals,
            steps=n,
            **options,
        )

    def advance(self, state: State, xs: tuple[Inputs, Any], n: int, **options: Any) -> tuple[Array, State]:
        """Return the loss of n steps and the state after them."""
        state, record = self.rollout(state, xs[0], n, **options)
        return self.loss(record, xs[1]), state


@dataclass(frozen=True)
class GradientRule(ABC):
    """How a gradient is found; a subclass is its configuration."""

    def __call__(
        self,
        net: Network,
        state: State,
        loss: Loss,
        targets: Any = None,
        *,
        spikes: Mapping[str, Array] | None = None,
        currents: Mapping[str, Array] | None = None,
        signals: Mapping[str, Array] | None = None,
        steps: int | None = None,
        record: Iterable[str] = ("spikes",),
        trained: Iterable[str] | None = None,
    ) -> Gradient:
        """Return the gradient of a loss with respect to the weights that `state` holds.

        Args:
            net: the network.
            state: where to start, from `net.init` or an earlier call; nothing is propagated to what came before.
            loss: of the record and the targets of some steps; a sum over steps (see above).
            targets: arrays with a leading axis T, in any pytree, or None.
            spikes, currents, signals, steps, record: as `Network.rollout` takes them.
            trained: names of projections; None: all. With a plastic one, the gradient is that of the weights at the
                start (with `truncate`, of those at the start of each piece).

        Raises:
            ValueError: an unknown projection, targets of another length, what the rule or the rollout can't take.
        """
        names = list(net.projections) if trained is None else list(trained)
        for name in names:
            if name not in net.projections:
                raise ValueError(message("trained", "projections", repr(name), did_you_mean(name, net.projections)))
        constant = {name: value for name, value in (currents or {}).items() if jnp.ndim(value) < 2}
        timed = {name: jnp.asarray(v, float) for name, v in (currents or {}).items() if name not in constant}
        floats = [{name: jnp.asarray(v, float) for name, v in (given or {}).items()} for given in (spikes, signals)]
        inputs = Inputs(floats[0], timed, floats[1])
        lengths = {len(x) for x in jax.tree.leaves((inputs, targets))} | ({steps} if steps is not None else set())
        if len(lengths) != 1:
            got = ", ".join(map(str, sorted(lengths))) or "none"
            raise ValueError(message("targets", "as many steps as the inputs have", got, "steps stand in front"))
        theta = {name: state.weights[name] for name in names}
        (T,) = lengths
        problem = Problem(net, loss, tuple(record), constant, theta, T, (inputs, targets))
        return self.find(problem, state)

    @abstractmethod
    def find(self, problem: Problem, state: State) -> Gradient:
        """Return the gradient; see `__call__`."""
