"""A single neuron that drives another, and spike-timing-dependent plasticity (Labady 2023, sections 3.1 and 3.2).

Two small experiments whose published numbers are the defaults and the middle of the search space, z = 0.5:
`l2l run jobs/single_neuron.yaml` looks for the current and the weight with which the two neurons fire at given rates,
`l2l run jobs/stdp.yaml` for the learning rule that brings a synapse to a given weight.

A batch runs in one simulation on both back ends: NEST's kernel is one a process, so these are no `JaxOptimizee`s.

Legend: P individuals, E pairs of spike trains of each, T steps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import Count, Finite, NotNegative, Positive, check_multiple, check_range, message
from optimizees.stdp_lab.trains import SHORTEST, Evolved, Pair, STDPRule, at_times, poisson, trace


@dataclass(frozen=True)
class SingleNeuron(BatchOptimizee):
    """An iaf_psc_alpha neuron under a direct current drives a second one through one synapse (section 3.1).

    The space: `current` into the first neuron, within [0, 2 current], and `weight` of the synapse, within
    [0, 2 weight]. Fitness: minus the mean error, in Hz, of the two rates; 0 is best. The published pair, 500 pA and
    1000 pA, fires at 62 and 31 Hz; the targets ask for a second neuron that follows every third spike of a faster
    first one.

    The source gives the model, the current, the weight and the multimeter's 0.1 ms. Taken from NEST's defaults:
    the neuron's parameters, the delays, a start at rest. Chosen: 1000 ms.
    """

    fitness_label: ClassVar[str] = "fitness: \N{MINUS SIGN}mean error of the two rates (Hz)"
    current: Positive = 500.0  # pA, into the first neuron; the middle of what is searched
    weight: Positive = 1000.0  # pA, peak of the synaptic current; the middle of what is searched
    target_first: NotNegative = 90.0  # Hz
    target_second: NotNegative = 30.0  # Hz
    pair: Pair = Pair()  # the neurons, their synapse and the simulation
    backend: Literal["nest", "jax"] = "nest"  # the same spikes and potentials

    def make_space(self) -> Space:
        """Return current (pA) and weight (pA); the published values are the middle, z = 0.5."""
        return Space(current=Real(0.0, 2 * self.current), weight=Real(0.0, 2 * self.weight))

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Simulate P pairs side by side; nothing is random, so seeds don't matter.

        Metrics: `rate_first` and `rate_second`, Hz. Artifacts: spikes (P, 2, T) bool and potentials (P, 2, T) mV of the
        two neurons; index k is the time (k + 1) * resolution.
        """
        params = {name: values[:, 0] for name, values in self.space.decode_columns(z).items()}
        if self.backend == "nest":
            from optimizees.stdp_lab import on_nest as lab
        else:
            from optimizees.stdp_lab import in_jax as lab
        spikes, potentials = lab.pair(self.pair, params["current"], params["weight"], with_artifacts)
        rates = spikes.sum(axis=2) / (self.pair.duration / 1000.0)  # (P, 2) Hz
        error = np.abs(rates - [self.target_first, self.target_second]).mean(axis=1)
        artifacts = {"spikes": spikes, "potentials": potentials} if with_artifacts else {}
        return Evaluation(0.0 - error, {"rate_first": rates[:, 0], "rate_second": rates[:, 1]}, artifacts)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write both potentials with their spikes over time (the source's figure 8), as `potentials.png`."""
        from optimizees.stdp_lab import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        title = f"{params['current']:.4g} pA into the first neuron, {params['weight']:.4g} pA from it to the second"
        path = folder / "potentials.png"
        return [figures.potentials(one["potentials"], one["spikes"], self.pair.resolution, self.pair.V_th, title, path)]


@dataclass(frozen=True)
class STDPLab(BatchOptimizee):
    """One synapse under pair STDP with traces (section 3.2, eq. 8-12).

    The space: `lam` within [lam / 10, 10 lam] and both time constants within [tau / 4, 4 tau], on a log scale, `alpha`
    within [0.1 alpha, 1.9 alpha]. Fitness: minus the mean distance, over E pairs of spike trains, of the last weight
    from `target`; 0 is best. A fast rule gets there in time but scatters with the spikes: there is something to find.

    How the source is read:
    - Spike trains: it says nothing of them. Poisson trains from the evaluation's seed, or the times given.
    - Eq. 8-9 print the decay of the traces; a spike adds 1.
    - Eq. 10-12 are "calculated at each time step", and "govern how the weight is updated in response to pre- and
      postsynaptic spikes". `update` "spikes" is NEST's stdp_synapse: eq. 10 at post spikes, eq. 11 at pre spikes,
      eq. 12 as clipping to [w_min, w_max]. "steps" takes eq. 10-12 by the letter, in every step (JAX only); there
      w = min(max(w_min, w_dep), w_pot), which with alpha > 0 never potentiates.
    - alpha is printed as -1.0, with which eq. 11, "depression", potentiates as well. Its sign is that of the field;
      evolution keeps it. The pictures show the other sign beside it.
    - "units" of the weight stay units. With alpha = 1, mu = 1 and independent trains, 500 is where both sides
      balance: w_max / (1 + alpha).

    On NEST, a synapse learns of post spikes when the next pre spike passes: its weights agree with those in JAX
    at pre spikes and at the end.
    """

    fitness_label: ClassVar[str] = "fitness: \N{MINUS SIGN}mean error of the weight (units)"
    lam: Positive = 0.01  # rate of change; the middle of what is searched
    alpha: Finite = -1.0  # depression relative to potentiation, as printed; < 0 potentiates
    tau_pre: Positive = 20.0  # ms, trace of pre spikes; the middle of what is searched
    tau_post: Positive = 20.0  # ms, trace of post spikes; the middle of what is searched
    rule: STDPRule = STDPRule()  # what of it isn't searched
    target: Finite = 700.0  # units, of the last weight
    pairs: Count = 1  # E, pairs of spike trains an individual is tried on
    rate_pre: NotNegative = 20.0  # Hz, of Poisson trains
    rate_post: NotNegative = 20.0  # Hz
    pre_times: tuple[float, ...] = ()  # ms, spikes of the pre neuron instead of Poisson ones
    post_times: tuple[float, ...] = ()  # ms
    duration: Positive = 1000.0  # ms
    resolution: Positive = 1.0  # ms, the source's dt
    backend: Literal["nest", "jax"] = "jax"

    def cross_check(self) -> None:
        if self.rule.update == "steps" and self.backend == "nest":
            raise ValueError(message("rule.update", "'spikes' on NEST", "'steps'", "or take backend: jax"))
        if self.alpha == 0:
            raise ValueError(message("alpha", "a number other than 0", 0, "its multiples are what is searched"))
        check_range("target", self.target, self.rule.w_min, self.rule.w_max)
        check_multiple("resolution", self.resolution, SHORTEST)
        check_multiple("duration", self.duration, self.resolution, "the resolution")
        for name in ("pre_times", "post_times"):
            for time in getattr(self, name):
                check_range(name, time, self.resolution, self.duration)
                check_multiple(name, time, self.resolution, "the resolution")

    def make_space(self) -> Space:
        """Return the rule's parameters; the published values are the middle, z = 0.5."""
        low, high = sorted((0.1 * self.alpha, 1.9 * self.alpha))  # its sign stays
        return Space(
            lam=Real(self.lam / 10, self.lam * 10, log=True),
            alpha=Real(low, high),
            tau_pre=Real(self.tau_pre / 4, self.tau_pre * 4, log=True),  # ms
            tau_post=Real(self.tau_post / 4, self.tau_post * 4, log=True),  # ms
        )

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Follow P * E synapses.

        Metrics: `last_weight` and its standard deviation `scatter` over an individual's pairs of trains, and
        `pre_spikes` and `post_spikes`, means. Artifacts, of each individual's first pair: pre and post
        (P, T) bool, weight (P, T), and weight_other_sign (P, T) with alpha of the other sign; index k is the time
        (k + 1) * resolution.
        """
        trains = [self.trains(int(seed)) for seed in seeds]
        pre, post = (np.concatenate([train[side] for train in trains]) for side in (0, 1))  # (P * E, T)
        values = self.space.decode_columns(z)
        evolved = Evolved(*(np.repeat(values[name][:, 0], self.pairs) for name in Evolved._fields))
        weight = self.weights(evolved, pre, post)
        last = weight[:, -1].reshape(len(z), self.pairs)
        metrics = {
            "last_weight": last.mean(axis=1),
            "scatter": last.std(axis=1),
            "pre_spikes": pre.sum(axis=1).reshape(last.shape).mean(axis=1),
            "post_spikes": post.sum(axis=1).reshape(last.shape).mean(axis=1),
        }
        artifacts = {}
        if with_artifacts:
            first = slice(None, None, self.pairs)
            other = Evolved(*(value[first] for value in evolved._replace(alpha=-evolved.alpha)))
            artifacts = {
                "pre": pre[first],
                "post": post[first],
                "weight": weight[first],
                "weight_other_sign": self.weights(other, pre[first], post[first]),
            }
        return Evaluation(0.0 - np.abs(last - self.target).mean(axis=1), metrics, artifacts)

    def trains(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the spikes of E pairs of neurons, two (E, T) bool: index k is the time (k + 1) * resolution."""
        size = (self.pairs, round(self.duration / self.resolution), self.resolution)
        generator = np.random.default_rng(seed)
        pre, post = (poisson(rate, *size, generator) for rate in (self.rate_pre, self.rate_post))
        pre = at_times(self.pre_times, *size) if self.pre_times else pre
        return pre, at_times(self.post_times, *size) if self.post_times else post

    def weights(self, evolved: Evolved, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        """Return the weights (C, T) after each step on spike trains (C, T) bool."""
        if self.backend == "nest":
            from optimizees.stdp_lab import on_nest as lab
        else:
            from optimizees.stdp_lab import in_jax as lab
        return lab.weights(self.rule, self.resolution, evolved, pre, post)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write traces and weight (the source's figure 9) as `stdp.png`, and beside the other sign as `signs.png`."""
        from optimizees.stdp_lab import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        dt, alpha = self.resolution, params["alpha"]
        traces = trace(one["pre"], params["tau_pre"], dt), trace(one["post"], params["tau_post"], dt)
        runs = {alpha: one["weight"], -alpha: one["weight_other_sign"]}
        numbers = f"\N{GREEK SMALL LETTER LAMDA} {params['lam']:.3g}, "
        numbers += f"\N{GREEK SMALL LETTER TAU} {params['tau_pre']:.3g} ms (pre), {params['tau_post']:.3g} ms (post)"
        files = []
        for name, shown in (("stdp.png", {alpha: one["weight"]}), ("signs.png", runs)):
            path = folder / name
            files.append(figures.stdp(one["pre"], one["post"], traces, shown, dt, self.target, numbers, path))
        return files
