"""Cue association with plastic synapses (Schmidgall et al. 2021, Frontiers in Neurorobotics 15:629210, section 3.1).

A mouse in a T-maze sees seven cues, left or right, waits, and has to turn to the side that had more of them. A network
of 40 input, 64 hidden and 2 output neurons without any loop has to keep the count in the traces beside its weights:
what is searched are the weights and the parameters of the rule that changes the traces while a trial lasts.

    l2l run jobs/cue_association_adam.yaml --inline
    l2l replay cue_association_adam-1

Legend: P individuals, D search coordinates, B trials, T steps, I intervals between updates of the traces, K cues.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import JaxOptimizee
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.snn import differentiable as rules
from l2l_snn.snn.cells import SRMAlpha
from l2l_snn.snn.homeostasis import SynapticScaling
from l2l_snn.snn.surrogate import exponential, smooth
from l2l_snn.space import Free, Space
from l2l_snn.validate import (
    Count,
    CountFromZero,
    NotNegative,
    Positive,
    Within,
    check_multiple,
    check_shape,
    message,
)
from optimizees.cue_association.network import Extras, Layer, layer, send
from optimizees.cue_association.trials import (
    NOISE,
    STEP,
    Schedule,
    Trials,
    judged,
    novelty,
    random_trials,
    reward,
)

RULES = {
    "none": None,
    "decay": rules.DPLinearDecay,
    "oja": rules.DPOja,
    "oja_1982": rules.Oja,
    "bcm": rules.DPBCM,
    "nd_oja": rules.NDPOja,
    "nd_bcm": rules.NDPBCM,
}
LAYERS = ("hidden", "out")


@dataclass(frozen=True)
class CueAssociation(JaxOptimizee):
    """One evaluation is a batch of B trials drawn from the seed; fitness is their mean reward, 1 right and -1 wrong.

    The space: weights and, of plastic rules, alpha of each synapse, eta of each layer, for BCM psi of each presynaptic
    neuron and eta_phi, and the modulators' weights W_m, of both layers.

    How the source is read:
    - Times: seven cues of 25 ms and a rest of 45, 75 or 105 ms fit into 500 ms only if there is one rest a trial, after
      the last cue. Cues follow each other at once (`gap`), the decision interval is what remains, 220 to 280 ms.
    - Decision: the log-odds average "the number of spikes" over the interval. Spikes per ms are at most 1, and would
      never give more than 73 % for one side, a mean reward of 0.46. Log-odds are spikes in 25 ms (`gain`).
    - Policy gradient: `decision: sampled` draws an action for each trial and gives REINFORCE's gradient (Williams 1992)
      with the batch's mean reward as baseline. `decision: expected` takes the mean over both actions instead:
      the expectation of the same gradient, without the noise of the draw, and the exact derivative of the fitness
      but for the spikes' surrogate. The reward comes in the last step, so that its discount (0.99) is one factor.
    - The trace takes the spike averages of eq. 11-21 for eq. 10 too. It is bounded, |E| <= e_max ("often clipped").
    - The third factor (eq. 15 leaves open what M may be; the discussion names reward): the reward is one that tells,
      while the animal decides, whether what it does is right, so it says something that the plain task doesn't. Not in
      the source either: synaptic scaling (van Rossum et al. 2000) beside the rule, and gradients that are cut.
    - Initial values and the interval are not given; see the fields. An eta may leave [0, 1], nothing bounds it.
    """

    fitness_label = "fitness: mean reward"
    side_by_side = False  # the trials of one network are work enough, and no chunk changes a bit
    # of differentiable.py; none: plain SNN; oja is eq. 11, oja_1982 Oja's own, whose decay is by postsynaptic activity
    rule: Literal["none", "decay", "oja", "oja_1982", "bcm", "nd_oja", "nd_bcm"] = "nd_bcm"
    noise: Literal["low", "high"] = "low"  # how often neurons fire without a cue
    trials: Count = 64  # B
    decision: Literal["expected", "sampled"] = "expected"  # mean over both actions, or a draw and REINFORCE
    gain: Positive = 25.0  # log-odds for each spike per ms
    hidden: Count = 64  # neurons
    delta_tau: Positive = 25.0  # ms between updates of the traces
    e_max: Annotated[float, Within(0.0, open_low=True, finite=False)] = 3.0  # bound of the traces
    w_hidden: Positive = 0.2  # mV, standard deviation of initial weights (z = 1)
    w_out: Positive = 0.25  # mV; small, so that no side is preferred at first
    alpha: Positive = 4.0  # mV, the same of alpha: traces are about 0.01, products of spikes per ms
    eta: NotNegative = 0.05  # mean of initial eta and eta_phi ...
    eta_spread: Positive = 0.02  # ... and their standard deviation
    psi: Positive = 0.1  # spikes a ms, standard deviation of BCM's fixed thresholds
    w_m: Positive = 0.5  # the same of modulators' weights
    v_th: Positive = 10.0  # mV, threshold
    tau_s: Positive = 10.0  # ms, response to input
    tau_ref: Positive = 2.0  # ms, refractoriness
    scale_ref: NotNegative = 2.0  # its peak, in thresholds
    through_refractory: bool = (
        True  # whether gradients pass through refractoriness; in SLAYER, the source's, they don't
    )
    surrogate_tau: Positive = 10.0  # mV, width of the surrogate derivative: "1" in thresholds
    surrogate_scale: Positive = 1.0
    # what M of neuromodulated rules gets besides, by weights that are trained: the change of the input's rates (both
    # layers), or the reward of what the output neurons say while they decide (of their own layer alone)
    third: Literal["none", "novelty", "reward"] = "none"
    w_third: Positive = 1.0  # standard deviation of these weights at first
    scaling: NotNegative = 0.0  # 1 / (s Hz), beta of synaptic scaling of positive hidden weights in a trial; 0: none
    scaling_target: Positive = 100.0  # Hz, rate of a hidden neuron that it leads to
    scaling_tau: Positive = 200.0  # ms, over which it averages the rate
    truncate: CountFromZero = 0  # steps of 1 ms after which gradients are cut, a multiple of delta_tau; 0: never
    smooth: NotNegative = 0.0  # 1 / mV; > 0: a sigmoid of this steepness instead of spikes, with an exact derivative
    schedule: Schedule = Schedule()  # of a trial: cues, rests, the decision
    precision: Literal["float32", "float64"] = "float32"

    def cross_check(self) -> None:
        check_multiple("delta_tau", self.delta_tau, STEP)
        check_multiple("schedule.horizon", self.schedule.horizon, self.delta_tau, "delta_tau")
        check_multiple("truncate", self.truncate * STEP, self.delta_tau, "delta_tau")
        if self.third != "none" and not self.rule.startswith("nd"):
            todo = "other rules have no modulators; take nd_oja or nd_bcm"
            raise ValueError(message("third", f"none with rule: {self.rule}", self.third, todo))

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """(n_pre, n_post) of each layer."""
        return {"hidden": (4 * self.schedule.group, self.hidden), "out": (self.hidden, 2)}

    def make_space(self) -> Space:
        """Return what is trained in both layers, all unbounded: w_hidden, alpha_hidden, ..., w_out, alpha_out, ...

        With a third factor also w_third_out, and of novelty w_third_hidden.
        """
        parameters: dict[str, Free] = {}
        for name, (pre, post) in self.sizes.items():
            kinds = {"w": Free((pre, post), scale=getattr(self, f"w_{name}"))}  # mV
            if self.rule != "none":
                kinds |= {"alpha": Free((pre, post), self.alpha), "eta": Free((), self.eta_spread, self.eta)}
            if self.rule.endswith("bcm"):
                kinds |= {"psi": Free((pre,), self.psi), "eta_phi": Free((), self.eta_spread, self.eta)}
            if self.rule.startswith("nd"):
                kinds |= {"w_m": Free((post, post), self.w_m)}
            if self.third == "novelty" or (self.third == "reward" and name == "out"):
                kinds |= {"w_third": Free((post,), self.w_third)}
            parameters |= {f"{kind}_{name}": parameter for kind, parameter in kinds.items()}
        return Space(**parameters)

    def evaluate(self, params: dict[str, Any], key: Any, *, watch: bool) -> Any:
        """Let a network answer B trials.

        Metrics: `accuracy` (share of trials in which the drawn action is right), `rate_hidden` and `rate_out` (Hz, of a
        neuron), `plastic_hidden` and `plastic_out` (mean |alpha E| at the end of a trial, mV). Artifacts: the first
        trial, see `watch`; not only when they are wanted, since with other outputs the compiler may round otherwise.
        """
        of_trials, of_actions = jax.random.split(key)
        trials = random_trials(self.schedule, NOISE[self.noise], of_trials, self.trials)
        layers = hidden, out = self.simulate(params, trials, 1)
        log_odds = self.log_odds(trials, out)
        fitness, accuracy = reward(log_odds, trials.answer, of_actions, self.decision)
        found = {"accuracy": accuracy}
        for name, one in zip(LAYERS, layers, strict=True):
            found[f"rate_{name}"] = one.sent.counts.mean() * 1000.0 / self.delta_tau
            found[f"plastic_{name}"] = one.plastic[-1].mean()
        shown = _show_trials(trials, hidden, out, log_odds, 1)
        return fitness, found | {name: value[0] for name, value in shown.items()}

    def watch(
        self, params: dict[str, Any], seed: int, cues: np.ndarray | None = None, *, decision_cue: bool = True
    ) -> dict[str, np.ndarray]:
        """Return what a network does in trials with given cues, for pictures.

        Args:
            params: decoded parameters.
            seed: of rests and spikes, and of cues that aren't given.
            cues: (B, K) of 0 left, 1 right, -1 none; None: B random sequences.
            decision_cue: whether the decision neurons are driven.

        Returns:
            inputs (B, T, 40), hidden (B, T, 64), out (B, T, 2) spikes; potential (B, T, 2) mV of the output neurons;
            modulation_hidden (B, I, 64), modulation_out (B, I, 2); plasticity_hidden, plasticity_out (B, I) mV, mean
            |alpha E|; cues (B, K), deciding (B, T), answer (B,), probability (B, 2) of left and right.
        """
        if cues is not None:
            cues = check_shape("cues", cues, (None, self.schedule.cues)).astype(np.int32)
        z = self.space.encode(params).astype(self.precision)
        with jax.enable_x64(self.precision == "float64"):
            return jax.device_get(_watch_trials(self, z, seed_words(seed), cues, decision_cue))

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write one trial: spikes of all neurons, potentials and rates of the output, modulation (`trial.png`)."""
        from optimizees.cue_association import figures

        trial = {name: value[0] for name, value in evaluation.artifacts.items()}
        title = f"{self.rule}, {self.noise} noise"
        return [figures.trial(trial, self.schedule, self.delta_tau, self.v_th, title, folder / "trial.png")]

    def simulate(self, params: dict[str, Any], trials: Trials, keep: int) -> tuple[Layer, Layer]:
        """Return what hidden and output layer do, with the hidden spikes of the first `keep` trials; traced."""
        spike = smooth(self.smooth) if self.smooth else exponential(self.surrogate_tau, self.surrogate_scale)
        cell = SRMAlpha(self.v_th, self.tau_s, self.tau_ref, self.scale_ref, spike, self.through_refractory)
        interval = round(self.delta_tau / STEP)
        sent, done = send(cell, trials.spikes, STEP, interval), []
        told = novelty(sent.counts, interval) if self.third == "novelty" else None
        for name in LAYERS:
            own = {key.removesuffix(f"_{name}"): value for key, value in params.items() if key.endswith(f"_{name}")}
            w, kind = own.pop("w"), RULES[self.rule]
            extras = Extras(told, w_third=own.pop("w_third", None), truncate=self.truncate // interval)
            if name == "hidden" and self.scaling:
                homeostasis = SynapticScaling(self.scaling_target, self.scaling_tau, self.scaling)
                extras = extras._replace(scaling=homeostasis)
            if name == "out" and self.third == "reward":
                extras = extras._replace(judged=judged(trials.deciding, trials.answer, interval))
            rule = kind and kind(**own, delta_tau=self.delta_tau, e_max=self.e_max)
            done.append(layer(cell, rule, w, sent, STEP, len(trials.answer) if name == "out" else keep, extras))
            sent = done[-1].sent
        return done[0], done[1]

    def log_odds(self, trials: Trials, out: Layer) -> Any:
        """Return (B, 2) the gain times the output neurons' spikes per ms of the decision interval; traced."""
        deciding = trials.deciding[:, :, None]
        return self.gain * (out.spikes * deciding).sum(axis=0) / (deciding.sum(axis=0) * STEP)


@partial(jax.jit, static_argnums=0)
def _watch_trials(optimizee: CueAssociation, z: Any, words: Any, cues: Any, decision_cue: Any) -> dict[str, Any]:
    """Return what `CueAssociation.watch` returns, of z (D,), the words of a seed and cues (B, K) or None."""
    of_trials, _ = jax.random.split(jax_key(words))
    count = optimizee.trials if cues is None else len(cues)
    trials = random_trials(optimizee.schedule, NOISE[optimizee.noise], of_trials, count, cues, decision_cue)
    hidden, out = optimizee.simulate(optimizee.space.decode(z), trials, count)
    shown = _show_trials(trials, hidden, out, optimizee.log_odds(trials, out), count)
    return shown | {"answer": trials.answer}


def _show_trials(trials: Trials, hidden: Layer, out: Layer, log_odds: Any, count: int) -> dict[str, Any]:
    """Return what `CueAssociation.watch` does but for the answers, of the first trials; traced."""
    over_time = {
        "inputs": trials.spikes,
        "hidden": hidden.spikes,
        "out": out.spikes,
        "potential": out.potentials,
        "modulation_hidden": hidden.modulation,
        "modulation_out": out.modulation,
        "plasticity_hidden": hidden.plastic,
        "plasticity_out": out.plastic,
        "deciding": trials.deciding,
    }
    shown = {name: value[:, :count].swapaxes(0, 1) for name, value in over_time.items()}
    return shown | {"cues": trials.cues[:count], "probability": jax.nn.softmax(log_odds)[:count]}
