"""What acts: networks between observations and actions, each a frozen dataclass with three pure methods.

`parameters` says what is searched, `init` is the state at the start of an episode, `step` takes one observation and
gives one number an output. All is of one environment; the rollout and the gradient run many side by side.

Legend: O numbers of an observation, scaled to about [-1, 1]; A outputs; T steps of the network an action; N neurons.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, final

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.coding import bernoulli_spikes, place_code
from l2l_snn.snn.surrogate import superspike
from l2l_snn.space import Free
from l2l_snn.validate import Count, Positive, Share, Within, check_fields, message
from optimizees.gym.actions import Actions


class Network(ABC):
    """A network that acts; a subclass is a frozen dataclass of its configuration."""

    @final
    def __post_init__(self) -> None:
        check_fields(self)

    @property
    @abstractmethod
    def keeps_state(self) -> bool:
        """Whether anything remains from one action to the next."""

    @property
    def is_random(self) -> bool:
        """Whether a step draws from its key."""
        return False

    def check_ends(self, inputs: int, actions: Actions) -> None:  # noqa: B027
        """Refuse what there is to see, O = `inputs` numbers, or to do; the default takes all.

        Raises:
            ValueError: see `l2l_snn.validate.message`.
        """

    @abstractmethod
    def parameters(self, inputs: int, outputs: int) -> dict[str, Free]:
        """Return what is searched, all of it unbounded: name -> parameter."""

    @abstractmethod
    def init(self, params: dict[str, Any]) -> Any:
        """Return the state at the start of an episode, any tree of arrays; () without one."""

    @abstractmethod
    def step(self, params: dict[str, Any], state: Any, seen: Any, key: Any) -> tuple[Any, Any, Any]:
        """Return the next state, the outputs (A,), and the mean number of spikes a neuron, (); pure.

        Args:
            params: decoded parameters.
            state: from `init` or the step before.
            seen: (O,) observation.
            key: a `jax.random` key of this step's noise.
        """


@dataclass(frozen=True)
class Coding:
    """How observations reach the first layer: as constant currents, or as spikes of place cells (000 eq. 1-2)."""

    kind: Literal["currents", "place"] = "currents"
    cells: Count = 20  # of each number, from -1 to 1
    sharpness: Positive = 15.0  # of a cell's tuning
    floor: Share = 0.05  # least probability of a spike in a step

    def __post_init__(self) -> None:
        check_fields(self)

    def width(self, inputs: int) -> int:
        """Return the number of inputs to the first layer."""
        return inputs * (self.cells if self.kind == "place" else 1)

    def encode(self, key: Any, seen: Any, steps: int) -> Any:
        """Return the input (T, width) of an observation (O,); its numbers are clipped to [-1, 1] by place cells."""
        if self.kind == "currents":
            return jnp.broadcast_to(seen, (steps, *seen.shape))
        p = place_code(seen, -1.0, 1.0, self.cells, sharpness=self.sharpness, floor=self.floor).reshape(-1)
        return bernoulli_spikes(key, jnp.broadcast_to(p, (steps, *p.shape)))


@dataclass(frozen=True)
class Perceptron(Network):
    """Layers of tanh units, and linear outputs."""

    hidden: tuple[Count, ...] = (64, 64)
    w_out: Positive = 0.1  # standard deviation of first output weights, times the root of how many there are

    @property
    def keeps_state(self) -> bool:
        return False

    def parameters(self, inputs: int, outputs: int) -> dict[str, Free]:
        return _layer_parameters((inputs, *self.hidden, outputs), 1.0, self.w_out)

    def init(self, params: dict[str, Any]) -> Any:
        return ()

    def step(self, params: dict[str, Any], state: Any, seen: Any, key: Any) -> tuple[Any, Any, Any]:
        x = seen
        for k in range(len(self.hidden)):
            x = jnp.tanh(x @ params[f"w_{k}"] + params[f"b_{k}"])
        k = len(self.hidden)
        return state, x @ params[f"w_{k}"] + params[f"b_{k}"], jnp.zeros(())


@dataclass(frozen=True)
class LIFLayers(Network):
    """Layers of leaky integrate-and-fire neurons, and a leaky readout that doesn't spike.

        V_t = beta V_t-1 (1 - s_t-1) + W x_t + b;  s_t = H(V_t / v_th - 1)

    Decay beta and threshold v_th of each layer are trained with `trained` (002, section 2.5: both, by BPTT), else they
    keep their first values. Outputs are the readout's potential, averaged over the T steps.
    """

    coding: Coding = Coding()
    hidden: tuple[Count, ...] = (64, 64)
    steps: Count = 8  # T
    beta: Annotated[float, Within(0.0, 1.0, open_low=True, open_high=True)] = (
        0.8  # first decay of a potential in a step
    )
    v_th: Positive = 1.0  # first threshold
    trained: bool = True  # whether decays and thresholds are searched too
    keep: bool = False  # whether potentials remain from one action to the next
    gain: Positive = 1.5  # of first weights, in 1 / sqrt(n_pre)
    w_out: Positive = 0.3  # the same of the readout's
    slope: Positive = 5.0  # steepness of the surrogate derivative, in thresholds

    @property
    def keeps_state(self) -> bool:
        return self.keep

    @property
    def is_random(self) -> bool:
        return self.coding.kind == "place"

    def check_ends(self, inputs: int, actions: Actions) -> None:
        if not self.hidden:
            raise ValueError(message("lif.hidden", "one layer or more", "none", "network: perceptron takes none"))

    def parameters(self, inputs: int, outputs: int) -> dict[str, Free]:
        sizes = (self.coding.width(inputs), *self.hidden, outputs)
        found = _layer_parameters(sizes, self.gain, self.w_out)
        if self.trained:
            layers = len(sizes) - 1
            found["decay"] = Free((layers,), 1.0, float(np.log(self.beta / (1 - self.beta))))  # a sigmoid's argument
            found["threshold"] = Free((layers - 1,), 0.3, float(np.log(self.v_th)))  # logarithm
        return found

    def init(self, params: dict[str, Any]) -> Any:
        outputs = params[f"b_{len(self.hidden)}"].shape[0]
        return tuple(jnp.zeros(n) for n in (*self.hidden, outputs)) if self.keep else ()

    def step(self, params: dict[str, Any], state: Any, seen: Any, key: Any) -> tuple[Any, Any, Any]:
        layers, spike = len(self.hidden) + 1, superspike(self.slope)
        decays = jax.nn.sigmoid(params["decay"]) if self.trained else jnp.full(layers, self.beta)
        thresholds = jnp.exp(params["threshold"]) if self.trained else jnp.full(layers - 1, self.v_th)
        x, after, counts = self.coding.encode(key, seen, self.steps), [], []
        for k in range(layers):
            w, b = params[f"w_{k}"], params[f"b_{k}"]
            if k == 0 and self.coding.kind == "currents":
                current = jnp.broadcast_to(seen @ w + b, (self.steps, w.shape[1]))
            else:
                current = x @ w + b[None]
            before = state[k] if self.keep else jnp.zeros(w.shape[1])
            v, x = _integrate(spike, before, current, decays[k], None if k == layers - 1 else thresholds[k])
            after.append(v)
            counts.append(x.mean())
        rate = jnp.stack(counts[:-1]).mean() * self.steps
        return tuple(after) if self.keep else state, x.mean(axis=0), rate


def _integrate(spike: Any, v: Any, current: Any, decay: Any, v_th: Any) -> tuple[Any, Any]:
    """Return the last potentials and what leaves the layer (T, N): spikes, or potentials without a threshold."""

    def advance(v: Any, i: Any) -> tuple[Any, Any]:
        v = decay * v + i
        if v_th is None:
            return v, v
        s = spike(v / v_th - 1)
        return v * (1 - s), s

    return jax.lax.scan(advance, v, current)


def _layer_parameters(sizes: tuple[int, ...], gain: float, w_out: float) -> dict[str, Free]:
    """Return weights w_0, w_1 ..., biases b_0, b_1 ... of layers of these sizes, scaled by 1 / sqrt(n_pre)."""
    found: dict[str, Free] = {}
    for k, (pre, post) in enumerate(pairwise(sizes)):
        last = k == len(sizes) - 2
        found[f"w_{k}"] = Free((pre, post), (w_out if last else gain) * pre**-0.5)
        found[f"b_{k}"] = Free((post,), 0.1)
    return found
