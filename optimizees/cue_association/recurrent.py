"""Cue association by a recurrent spiking network with fixed weights, trained by BPTT or by e-prop.

What Schmidgall et al. 2021 (section 3.1) hold their plastic networks against: that recurrent networks solve the task by
both (Bellec et al. 2020, Nature Communications 11:3625, there with 50 regular and 50 adaptive neurons). The trials are
those of `trials.py`; what is kept of the cues is in the thresholds of adaptive neurons, not in synapses.

    l2l run jobs/cue_association_eprop.yaml --inline

Legend: B trials, T steps, N neurons, C input neurons.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.optimizee import JaxOptimizee
from l2l_snn.snn.cells import AdaptiveLIF, LeakyReadout
from l2l_snn.snn.eprop import EProp
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.surrogate import triangle
from l2l_snn.space import Free, Space
from l2l_snn.validate import Count, CountFromZero, NotNegative, Positive, check_multiple, message
from optimizees.cue_association.trials import NOISE, STEP, Schedule, random_trials, reward


@dataclass(frozen=True)
class RecurrentCueAssociation(JaxOptimizee):
    """Fitness: the mean reward of B trials less the price of rates; its gradient is that of `gradient`.

    Log-odds are the mean of two leaky readouts over the decision interval. E-prop takes a loss that is a sum over
    steps: the slopes of the fitness with respect to readouts and spikes, found after the trial, are what it is told of
    each step. The gradients of w_out and b_out are exact with both.
    """

    fitness_label = "fitness: mean reward - price of rates"
    side_by_side = False  # the trials of one network are work enough
    gradient: Literal["bptt", "eprop"] = "bptt"
    noise: Literal["low", "high"] = "low"  # how often input neurons fire without a cue
    trials: Count = 64  # B
    regular: CountFromZero = 50  # LIF neurons
    adaptive: CountFromZero = 50  # adaptive LIF neurons
    tau_m: Positive = 20.0  # ms, membrane, also of the readouts
    tau_a: Positive = 500.0  # ms, adaptation: as long as a trial
    beta: NotNegative = 1.8  # ms, rise of the threshold for each unit of adaptation
    v_th: Positive = 0.01  # of both kinds
    t_ref: NotNegative = 5.0  # ms
    delay: Positive = 5.0  # ms, of input and recurrent synapses
    damping: Positive = 0.3  # of the surrogate derivative
    w_in: Positive = 0.1  # standard deviation of initial weights, times the root of C ...
    w_rec: Positive = 0.5  # ... and of N
    w_out: Positive = 1.0  # the same of the readouts, as it is: a log-odds is a sum of some 20 spikes / s and neuron
    price: NotNegative = 0.1  # of the squared distance of each neuron's rate to `target_rate`, spikes / ms, summed
    target_rate: NotNegative = 10.0  # Hz
    schedule: Schedule = Schedule()  # of a trial
    precision: Literal["float32", "float64"] = "float32"

    def cross_check(self) -> None:
        if not self.neurons:
            raise ValueError(message("regular + adaptive", "at least one neuron", 0))
        check_multiple("delay", self.delay, STEP, "the network's step")

    @property
    def neurons(self) -> int:
        """N."""
        return self.regular + self.adaptive

    def make_space(self) -> Space:
        """Return w_in (C, N), w_rec (N, N), w_out (N, 2) and b_out (2,)."""
        sources, n = 4 * self.schedule.group, self.neurons
        return Space(
            w_in=Free((sources, n), scale=self.w_in * sources**-0.5),
            w_rec=Free((n, n), scale=self.w_rec * n**-0.5),
            w_out=Free((n, 2), scale=self.w_out),
            b_out=Free((2,), scale=0.1),
        )

    def network(self) -> Network:
        """Return sources "in", neurons "lsnn", the regular ones first (beta 0), and readouts "out"."""
        beta = np.where(np.arange(self.neurons) >= self.regular, self.beta, 0.0)
        cell = AdaptiveLIF(self.tau_m, self.v_th, self.t_ref, beta, self.tau_a, triangle(self.damping))
        populations = {
            "in": Population(4 * self.schedule.group),
            "lsnn": Population(self.neurons, cell),
            "out": Population(2, LeakyReadout(self.tau_m)),
        }
        itself = 1 - np.eye(self.neurons)  # no neuron projects to itself
        projections = {
            "w_in": Projection("in", "lsnn", self.delay),
            "w_rec": Projection("lsnn", "lsnn", self.delay, mask=itself),
            "w_out": Projection("lsnn", "out", delay=0.0),
        }
        return Network(populations, projections, dt=STEP)

    def evaluate(self, params: dict[str, Any], key: Any, *, watch: bool) -> Any:
        """Let a network answer B trials.

        Metrics: `accuracy` (share of trials in which the drawn action is right), `reward` (mean over both actions) and
        `rate` (Hz). Artifacts: inputs (T, C), spikes (T, N) and readout (T, 2) of the first trial.
        """
        of_trials, of_actions = jax.random.split(key)
        trials = random_trials(self.schedule, NOISE[self.noise], of_trials, self.trials)
        deciding = (trials.deciding / trials.deciding.sum(axis=0, keepdims=True))[:, :, None]  # (T, B, 1), of sum 1
        given, record = {"in": trials.spikes}, ("spikes.out", "spikes.lsnn")
        net = self.network()

        def fitness(spikes: dict[str, Any], b_out: Any) -> Any:
            log_odds = (spikes["out"] * deciding).sum(axis=0) + b_out[None]
            gained, accuracy = reward(log_odds, trials.answer, of_actions, "expected")
            rates = spikes["lsnn"].mean(axis=(0, 1))  # spikes / ms
            cost = self.price * jnp.sum((rates - self.target_rate / 1000) ** 2)
            return gained - cost, {"accuracy": accuracy, "reward": gained, "rate": 1000 * rates.mean()}

        weights = {name: params[name] for name in net.projections}
        if self.gradient == "eprop":
            weights = jax.lax.stop_gradient(weights)
        state = net.init(weights, batch=self.trials)
        kept = net.rollout(state, spikes=given, record=record, reverse_only=True)[1].spikes
        value, found = fitness(kept, params["b_out"])
        if self.gradient == "eprop":
            slopes = jax.grad(lambda spikes: fitness(spikes, jax.lax.stop_gradient(params["b_out"]))[0])(kept)

            def told(record: Any, slopes: Any) -> Any:
                return sum(jnp.vdot(record.spikes[name], slopes[name]) for name in slopes)

            grads = EProp()(net, state, told, slopes, spikes=given, record=record).weights
            way = sum(jnp.vdot(jax.lax.stop_gradient(grads[name]), params[name]) for name in grads)
            value += way - jax.lax.stop_gradient(way)  # the fitness's value and e-prop's gradient
        shown = {"inputs": trials.spikes, "spikes": kept["lsnn"], "readout": kept["out"]}
        return value, found | {name: array[:, 0] for name, array in shown.items()}
