"""A single neuron that drives another, and spike-timing-dependent plasticity (Labady 2023, sections 3.1 and 3.2).

Two small experiments whose published numbers are the defaults and the middle of the search space, z = 0.5:
`l2l run jobs/single_neuron.yaml` looks for the current and the weight with which the two neurons fire at given rates,
`l2l run jobs/stdp.yaml` for the learning rule that brings a synapse to a given weight.

Legend: P individuals, E pairs of spike trains of each, T steps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, message
from optimizees.stdp_lab.trains import Evolved, Pair, Rule, at_times, poisson, trace


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
    current: float = 500.0  # pA, into the first neuron; the middle of what is searched
    weight: float = 1000.0  # pA, peak of the synaptic current; the middle of what is searched
    target_first: float = 90.0  # Hz
    target_second: float = 30.0  # Hz
    E_L: float = -70.0  # mV, resting potential, where both neurons start
    V_th: float = -55.0  # mV, threshold
    V_reset: float = -70.0  # mV, potential after a spike
    C_m: float = 250.0  # pF, capacitance
    tau_m: float = 10.0  # ms, membrane time constant
    tau_syn: float = 2.0  # ms, rise time of the synaptic current
    t_ref: float = 2.0  # ms, refractory time
    drive_delay: float = 1.0  # ms, from the generator to the first neuron
    delay: float = 1.0  # ms, synaptic delay
    duration: float = 1000.0  # ms
    resolution: float = 0.1  # ms, simulation step and sampling interval
    backend: Literal["nest", "jax"] = "nest"  # the same spikes and potentials

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, ("nest", "jax"))
        for name in ("current", "weight", "C_m", "tau_m", "tau_syn", "duration", "resolution"):
            check_finite(name, check_range(name, getattr(self, name), 0.0, open_low=True))
        for name in ("target_first", "target_second", "t_ref"):
            check_finite(name, check_range(name, getattr(self, name), 0.0))
        for name in ("E_L", "V_th", "V_reset"):
            check_finite(name, check_range(name, getattr(self, name)))
        for name in ("E_L", "V_reset"):
            if getattr(self, name) >= self.V_th:
                got = f"{getattr(self, name)} mV with V_th {self.V_th} mV"
                raise ValueError(message(name, "a potential below V_th", got))
        for name in ("drive_delay", "delay"):
            check_range(name, getattr(self, name), self.resolution, todo="nothing arrives before the next step")
        _check_steps(self, "drive_delay", "delay", "duration", "t_ref")

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
        spec = Pair(*(getattr(self, name) for name in Pair._fields))
        spikes, potentials = lab.pair(spec, params["current"], params["weight"], with_artifacts)
        rates = spikes.sum(axis=2) / (self.duration / 1000.0)  # (P, 2) Hz
        error = np.abs(rates - [self.target_first, self.target_second]).mean(axis=1)
        artifacts = {"spikes": spikes, "potentials": potentials} if with_artifacts else {}
        return Evaluation(0.0 - error, {"rate_first": rates[:, 0], "rate_second": rates[:, 1]}, artifacts)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write both potentials with their spikes over time (the source's figure 8), as `potentials.png`."""
        from optimizees.stdp_lab import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        title = f"{params['current']:.4g} pA into the first neuron, {params['weight']:.4g} pA from it to the second"
        path = folder / "potentials.png"
        return [figures.potentials(one["potentials"], one["spikes"], self.resolution, self.V_th, title, path)]


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
    lam: float = 0.01  # rate of change; the middle of what is searched
    alpha: float = -1.0  # depression relative to potentiation, as printed; < 0 potentiates
    tau_pre: float = 20.0  # ms, trace of pre spikes; the middle of what is searched
    tau_post: float = 20.0  # ms, trace of post spikes; the middle of what is searched
    mu_plus: float = 1.0  # exponent of the weight dependence of potentiation
    mu_minus: float = 1.0  # the same of depression
    w_start: float = 500.0  # units, first weight
    w_min: float = 0.0  # units
    w_max: float = 1000.0  # units
    target: float = 700.0  # units, of the last weight
    pairs: int = 1  # E, pairs of spike trains an individual is tried on
    rate_pre: float = 20.0  # Hz, of Poisson trains
    rate_post: float = 20.0  # Hz
    pre_times: tuple[float, ...] = ()  # ms, spikes of the pre neuron instead of Poisson ones
    post_times: tuple[float, ...] = ()  # ms
    duration: float = 1000.0  # ms
    resolution: float = 1.0  # ms, the source's dt
    update: Literal["spikes", "steps"] = "spikes"  # when the weight changes: at spikes, or by the letter in every step
    backend: Literal["nest", "jax"] = "jax"

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, ("nest", "jax"))
        check_choice("update", self.update, ("spikes", "steps"))
        if self.update == "steps" and self.backend == "nest":
            raise ValueError(message("update", "'spikes' on NEST", "'steps'", "or take backend: jax"))
        check_count("pairs", self.pairs)
        for name in ("lam", "tau_pre", "tau_post", "w_max", "duration", "resolution"):
            check_finite(name, check_range(name, getattr(self, name), 0.0, open_low=True))
        for name in ("mu_plus", "mu_minus", "rate_pre", "rate_post"):
            check_finite(name, check_range(name, getattr(self, name), 0.0))
        check_finite("alpha", check_range("alpha", self.alpha))
        if self.alpha == 0:
            raise ValueError(message("alpha", "a number other than 0", 0, "its multiples are what is searched"))
        check_range("w_min", self.w_min, 0.0, self.w_max)
        for name in ("w_start", "target"):
            check_range(name, getattr(self, name), self.w_min, self.w_max)
        _check_steps(self, "duration")
        for name in ("pre_times", "post_times"):
            for time in getattr(self, name):
                check_range(name, time, self.resolution, self.duration)
                _check_multiple(name, time, self.resolution)

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
        return lab.weights(Rule(*(getattr(self, name) for name in Rule._fields)), evolved, pre, post)

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


def _check_steps(optimizee: Any, *names: str) -> None:
    """Refuse times that are not a multiple of the simulation step, and steps that NEST has not."""
    _check_multiple("resolution", optimizee.resolution, 0.001)
    for name in names:
        _check_multiple(name, getattr(optimizee, name), optimizee.resolution)


def _check_multiple(name: str, time: float, step: float) -> None:
    if abs(time / step - round(time / step)) > 1e-6:
        raise ValueError(message(name, f"a multiple of {step:g} ms", time))
