"""The network that learns from a teacher (Bellec et al. 2018, section 5), in JAX: what it is told, and how it answers.

Regular and adaptive LIF neurons, all connected; inputs and the answer before are population coded; an answer is a
weighted count of the spikes in the 20 ms of an example.

Legend: B episodes side by side; E examples; I inputs of the function; N neurons, A of them adaptive; S steps an
example; C neurons that code a value; G points at which the network is asked.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import LIF, AdaptiveLIF
from l2l_snn.snn.coding import bernoulli_spikes, even_spikes, place_code
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.state import State
from l2l_snn.snn.surrogate import triangle
from l2l_snn.validate import (
    AtLeast,
    Count,
    CountFromZero,
    NotNegative,
    Positive,
    Within,
    check_fields,
    check_finite,
    check_multiple,
    check_range,
    message,
)
from optimizees.teacher.functions import FAMILIES, Episodes


@dataclass(frozen=True)
class LSNN:
    """The network but for its weights, and how values are coded for it; by default the source's, see `Teacher`."""

    regular: CountFromZero = 180  # LIF neurons
    adaptive: CountFromZero = 120  # adaptive LIF neurons
    coding: Annotated[int, AtLeast(2)] = 100  # C, neurons that code each value
    step_ms: Count = 20  # S, ms an example is shown
    delay: Positive = 1.0  # ms, synaptic delay, the shortest ...
    delay_max: float = 10.0  # ms, ... and the longest; drawn for each synapse, unless they are the same
    beta: NotNegative = 1.8  # ms, rise of the threshold of adaptive neurons
    tau_m: Positive = 20.0  # ms, membrane time constant
    tau_a_min: Positive = 1.0  # ms, time constants of adaptation, uniform from here ...
    tau_a_max: float = 1000.0  # ms, ... to here
    t_ref: NotNegative = 5.0  # ms, refractory time
    damping: Positive = 0.3  # of the surrogate derivative
    rate: Annotated[float, Within(0.0, 1000.0, open_low=True)] = 200.0  # Hz, of a source whose preferred value is shown
    sharpness: Positive = 50.0  # of the code: exp(-sharpness (x - preferred)^2), all values in [-1, 1]
    spacing: Literal["bernoulli", "even"] = "bernoulli"  # of a source's spikes; even: from a random phase an example
    # ms by which spikes are counted later than an example is shown: what a synapse's delay keeps from the neurons
    lag: NotNegative = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.neurons:
            raise ValueError(message("regular + adaptive", "at least one neuron", 0))
        check_finite("tau_a_max", check_range("tau_a_max", self.tau_a_max, self.tau_a_min))
        check_finite("delay_max", check_range("delay_max", self.delay_max, self.delay))
        for name in ("delay", "delay_max", "lag"):
            check_multiple(name, getattr(self, name), 1.0, "the network's step")
        if self.lag > self.delay:
            todo = "else an answer could know the next example"
            raise ValueError(message("lag", f"at most the shortest delay, {self.delay:g} ms", f"{self.lag:g} ms", todo))

    @property
    def neurons(self) -> int:
        """N."""
        return self.regular + self.adaptive

    @property
    def tau_adaptation(self) -> np.ndarray:
        """(N,) ms, the neurons' time constants of adaptation."""
        of_the_network = np.random.default_rng(0)  # the same in every run
        return of_the_network.uniform(self.tau_a_min, self.tau_a_max, self.neurons)

    def network(self, sources: int) -> Network:
        """Return sources and one population: regular neurons first (beta 0), then adaptive ones."""
        adapts = np.arange(self.neurons) >= self.regular
        cell = AdaptiveLIF(
            tau_m=self.tau_m,
            v_th=np.where(adapts, AdaptiveLIF().v_th, LIF().v_th),
            t_ref=self.t_ref,
            beta=np.where(adapts, self.beta, 0.0),
            tau_a=self.tau_adaptation,
            spike=triangle(self.damping),
        )
        populations = {"in": Population(sources), "lsnn": Population(self.neurons, cell)}
        projections = {"in": Projection("in", "lsnn", self.delay), "rec": Projection("lsnn", "lsnn", self.delay)}
        if self.delay_max > self.delay:
            for name, p in projections.items():
                shape = populations[p.pre].n, self.neurons
                sampled = np.random.default_rng(1).integers(round(self.delay), round(self.delay_max) + 1, shape)
                projections[name] = replace(p, delay=sampled * 1.0)
        return Network(populations, projections, dt=1.0)


class Learner(NamedTuple):
    """The network that learns functions of a family, but for its weights."""

    family: str  # of `FAMILIES`
    lsnn: LSNN

    @property
    def sources(self) -> int:
        return self.lsnn.coding * (FAMILIES[self.family].inputs + 1)

    def network(self) -> Network:
        """Return sources and one population; see `LSNN.network`."""
        return self.lsnn.network(self.sources)

    def encode(self, key: jax.Array, x: Any, y_before: Any) -> jax.Array:
        """Return the sources' spikes (S E, B, C (I + 1)) of inputs (B, E, I) and earlier answers (B, E)."""
        low, high = FAMILIES[self.family].low, FAMILIES[self.family].high
        answer = 2 * (y_before - low) / (high - low) - 1
        values = jnp.concatenate([x, answer[..., None]], axis=-1)  # (B, E, I + 1), all in [-1, 1]
        p = place_code(values, -1.0, 1.0, self.lsnn.coding, sharpness=self.lsnn.sharpness, floor=0.0)
        p = (p * self.lsnn.rate / 1000.0).reshape(*x.shape[:2], -1)
        p = jnp.moveaxis(p, 0, 1)  # (E, B, C (I + 1))
        if self.lsnn.spacing == "even":
            spikes = even_spikes(key, p, self.lsnn.step_ms)
            return jnp.moveaxis(spikes, 0, 1).reshape(-1, *p.shape[1:])
        return bernoulli_spikes(key, jnp.repeat(p, self.lsnn.step_ms, axis=0))

    def encode_episodes(self, key: jax.Array, episodes: Episodes) -> jax.Array:
        """Return the sources' spikes of whole episodes; the answer told with the first example is 0 (the source)."""
        x, y = episodes
        return self.encode(key, x, jnp.concatenate([jnp.zeros((len(y), 1)), y[:, :-1]], axis=1))

    def run(self, params: Any, key: jax.Array, episodes: Episodes, **options: Any) -> Any:
        """Show the examples to the learner.

        Args:
            params: w_in (sources, N), w_rec (N, N), w_out (N,), b_out ().
            key: of the sources' spikes.
            episodes: B of them.
            options: for `Network.rollout`.

        Returns:
            Answers (B, E) in the family's unit, and spikes of sources and neurons, (S E, B, N) each; those of the
            neurons begin with the lag.
        """
        net, B = self.network(), len(episodes.y)
        spikes = self._wait_for_last(self.encode_episodes(key, episodes))
        state = net.init({"in": params["w_in"], "rec": params["w_rec"]}, batch=B)
        _, record = net.rollout(state, spikes={"in": spikes}, record=("spikes.lsnn",), **options)
        lag, T = round(self.lsnn.lag), self.lsnn.step_ms * episodes.y.shape[1]
        fired = record.spikes["lsnn"][lag:]
        return self.answers(params, self.counts(fired)), (spikes[:T], fired)

    def _wait_for_last(self, spikes: Any) -> Any:
        """Return the sources' spikes (S E, B, C (I + 1)) with the silence in which the last answer is still counted."""
        return jnp.pad(spikes, ((0, round(self.lsnn.lag)), (0, 0), (0, 0))) if self.lsnn.lag else spikes

    def counts(self, spikes: jax.Array) -> jax.Array:
        """Return how often each neuron fired during each example, (E, B, N), of spikes (S E, B, N)."""
        return spikes.reshape(-1, self.lsnn.step_ms, *spikes.shape[1:]).sum(axis=1)

    def traces(self, counts: jax.Array) -> jax.Array:
        """Return the adaptation of the adaptive neurons after each example, (E, B, A), in spikes an example."""
        regular = self.lsnn.regular
        decay = jnp.exp(-self.lsnn.step_ms / jnp.asarray(self.lsnn.tau_adaptation[regular:], jnp.float32))[None]

        def example(trace: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
            trace = decay * trace + (1 - decay) * count
            return trace, trace

        counts = counts[..., regular:]
        return jax.lax.scan(example, jnp.zeros_like(counts[0]), counts)[1]

    def answers(self, params: Any, counts: jax.Array) -> jax.Array:
        """Return answers (B, E) of spike counts (E, B, N): their weighted sum, in the family's unit."""
        low, high = FAMILIES[self.family].low, FAMILIES[self.family].high
        return (low + high) / 2 + (high - low) / 2 * (counts @ params["w_out"] + params["b_out"]).T

    def states(self, params: Any, key: jax.Array, episodes: Episodes) -> State:
        """Return the network's state after each example of one episode (B = 1), with E in front of every array."""
        net, spikes = self.network(), self.encode_episodes(key, Episodes(*map(jnp.asarray, episodes)))
        spikes = spikes.reshape(-1, self.lsnn.step_ms, 1, self.sources)

        def example(state: State, spikes: jax.Array) -> tuple[State, State]:
            state, _ = net.rollout(state, spikes={"in": spikes}, record=())
            return state, state

        start = net.init({"in": params["w_in"], "rec": params["w_rec"]}, batch=1)
        return jax.lax.scan(example, start, spikes)[1]

    def asked(self, params: Any, key: jax.Array, state: State, last: Any, grid: Any) -> jax.Array:
        """Return what the network would answer at each point of a grid: its internal model of the function.

        Args:
            params, key: as for `run`.
            state: after some examples, one entry of `states`.
            last: () the right answer to the last of them, which is told with each question.
            grid: (G, I) in [-1, 1]; each is asked from the same state.

        Returns:
            (G,) in the family's unit.
        """
        G, net = len(grid), self.network()
        many = net.init({"in": params["w_in"], "rec": params["w_rec"]}, batch=G)
        cells = jax.tree.map(lambda new, old: jnp.broadcast_to(old, new.shape), many.cells, state.cells)
        lines = {name: jnp.repeat(line, G, axis=1) for name, line in state.arriving.items()}
        spikes = self._wait_for_last(self.encode(key, jnp.asarray(grid)[:, None], jnp.broadcast_to(last, (G, 1))))
        start = many._replace(cells=cells, arriving=lines)
        _, record = net.rollout(start, spikes={"in": spikes}, record=("spikes.lsnn",))
        return self.answers(params, self.counts(record.spikes["lsnn"][round(self.lsnn.lag) :]))[:, 0]
