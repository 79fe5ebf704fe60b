"""Cue association with plastic synapses (Schmidgall et al. 2021, Frontiers in Neurorobotics 15:629210, section 3.1).

A mouse in a T-maze sees seven cues, left or right, waits, and has to turn to the side that had more of them. A network
of 40 input, 64 hidden and 2 output neurons without any loop has to keep the count in the traces beside its weights:
what is searched are the weights and the parameters of the rule that changes the traces while a trial lasts.

    l2l run jobs/cue_association_adam.yaml --inline
    l2l replay cue_association_adam-1

Legend: P individuals, D search coordinates, B trials, T steps, I intervals between updates of the traces, K cues.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Free, Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, check_shape, message

if TYPE_CHECKING:
    from optimizees.cue_association.network import Layer
    from optimizees.cue_association.trials import Schedule, Trials

RULES = ("none", "decay", "oja", "bcm", "nd_oja", "nd_bcm")
STEP = 1.0  # ms, network step
LAYERS = ("hidden", "out")


@dataclass(frozen=True)
class CueAssociation(BatchOptimizee):
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
    - Initial values and the interval are not given; see the fields. An eta may leave [0, 1], nothing bounds it.
    """

    has_grad: ClassVar[bool] = True
    fitness_label: ClassVar[str] = "fitness: mean reward"
    rule: Literal["none", "decay", "oja", "bcm", "nd_oja", "nd_bcm"] = "nd_bcm"  # of differentiable.py; none: plain SNN
    noise: Literal["low", "high"] = "low"  # how often neurons fire without a cue
    trials: int = 64  # B
    decision: Literal["expected", "sampled"] = "expected"  # mean over both actions, or a draw and REINFORCE
    gain: float = 25.0  # log-odds for each spike per ms
    hidden: int = 64  # neurons
    delta_tau: float = 25.0  # ms between updates of the traces
    e_max: float = 3.0  # bound of the traces
    w_hidden: float = 0.2  # mV, standard deviation of initial weights (z = 1)
    w_out: float = 0.25  # mV; small, so that no side is preferred at first
    alpha: float = 4.0  # mV, the same of alpha: traces are about 0.01, products of spikes per ms
    eta: float = 0.05  # mean of initial eta and eta_phi ...
    eta_spread: float = 0.02  # ... and their standard deviation
    psi: float = 0.1  # spikes a ms, standard deviation of BCM's fixed thresholds
    w_m: float = 0.5  # the same of modulators' weights
    v_th: float = 10.0  # mV, threshold
    tau_s: float = 10.0  # ms, response to input
    tau_ref: float = 2.0  # ms, refractoriness
    scale_ref: float = 2.0  # its peak, in thresholds
    surrogate_tau: float = 10.0  # mV, width of the surrogate derivative: "1" in thresholds
    surrogate_scale: float = 1.0
    smooth: float = 0.0  # 1 / mV; > 0: a sigmoid of this steepness instead of spikes, with an exact derivative
    cues: int = 7  # K, odd, so that one side has more
    cue: float = 25.0  # ms, a cue
    gap: float = 0.0  # ms between cues
    rests: tuple[float, ...] = (45.0, 75.0, 105.0)  # ms, one of them after the last cue
    horizon: float = 500.0  # ms, a trial
    group: int = 10  # neurons of each of the four input groups
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        for name, choices in (("rule", RULES), ("noise", ("low", "high")), ("decision", ("expected", "sampled"))):
            check_choice(name, getattr(self, name), choices)
        check_choice("precision", self.precision, ("float32", "float64"))
        for name in ("trials", "hidden", "cues", "group"):
            check_count(name, getattr(self, name))
        positive = ("gain", "delta_tau", "w_hidden", "w_out", "alpha", "eta_spread", "psi", "w_m", "v_th", "tau_s")
        for name in (*positive, "tau_ref", "surrogate_tau", "surrogate_scale", "cue", "horizon"):
            check_finite(name, check_range(name, getattr(self, name), 0.0, open_low=True))
        check_range("e_max", self.e_max, 0.0, open_low=True)
        for name in ("eta", "scale_ref", "smooth", "gap"):
            check_finite(name, check_range(name, getattr(self, name), 0.0))
        if self.cues % 2 == 0:
            raise ValueError(message("cues", "an odd number", self.cues, "with an even one, both sides may be equal"))
        for name in ("delta_tau", "cue", "gap", "horizon"):
            _check_multiple(name, getattr(self, name), STEP)
        _check_multiple("horizon", self.horizon, self.delta_tau)
        if not self.rests:
            raise ValueError(message("rests", "at least one time in ms", "none"))
        for rest in self.rests:
            check_range("rests", rest, 0.0)
            _check_multiple("rests", rest, STEP)
        ends = self.cues * self.cue + (self.cues - 1) * self.gap + max(self.rests)
        if ends >= self.horizon:
            todo = "the decision comes after cues and rest"
            raise ValueError(message("horizon", f"more than {ends:g} ms", f"{self.horizon:g} ms", todo))

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """(n_pre, n_post) of each layer."""
        return {"hidden": (4 * self.group, self.hidden), "out": (self.hidden, 2)}

    def make_space(self) -> Space:
        """Return what is trained in both layers, all unbounded: w_hidden, alpha_hidden, ..., w_out, alpha_out, ..."""
        parameters: dict[str, Free] = {}
        for layer, (pre, post) in self.sizes.items():
            kinds = {"w": Free((pre, post), scale=getattr(self, f"w_{layer}"))}  # mV
            if self.rule != "none":
                kinds |= {"alpha": Free((pre, post), self.alpha), "eta": Free((), self.eta_spread, self.eta)}
            if self.rule.endswith("bcm"):
                kinds |= {"psi": Free((pre,), self.psi), "eta_phi": Free((), self.eta_spread, self.eta)}
            if self.rule.startswith("nd"):
                kinds |= {"w_m": Free((post, post), self.w_m)}
            parameters |= {f"{kind}_{layer}": parameter for kind, parameter in kinds.items()}
        return Space(**parameters)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate P networks, one after the other: B trials side by side are enough, and no chunk changes a bit.

        Metrics: `accuracy` (share of trials in which the drawn action is right), `rate_hidden` and `rate_out` (Hz, of a
        neuron), `plastic_hidden` and `plastic_out` (mean |alpha E| at the end of a trial, mV). Artifacts: the first
        trial, see `watch`.
        """
        import jax

        z = check_shape("z", z, (None, self.space.size))
        with jax.enable_x64(self.precision == "float64"):
            function = _compiled(self, with_grad)
            rows = [function(row.astype(self.precision), np.uint32(seed)) for row, seed in zip(z, seeds, strict=True)]
            rows = jax.device_get(rows)
        fitness = np.array([row[0] for row in rows], np.float64)
        metrics, artifacts = (
            {name: np.stack([row[part][name] for row in rows]) for name in rows[0][part]} for part in (1, 2)
        )
        grad = np.stack([row[3] for row in rows]).astype(np.float64) if with_grad else None
        metrics = {name: value.astype(np.float64) for name, value in metrics.items()}
        return Evaluation(fitness, metrics, artifacts if with_artifacts else {}, grad)

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
            modulation_hidden (B, I, 64), modulation_out (B, I, 2); plastic_hidden, plastic_out (B, I) mean |alpha E|,
            mV; cues (B, K), deciding (B, T), answer (B,), probability (B, 2) of left and right.
        """
        import jax

        if cues is not None:
            cues = check_shape("cues", cues, (None, self.cues))
        with jax.enable_x64(self.precision == "float64"):
            z = self.space.encode(params).astype(self.precision)
            given = None if cues is None else np.asarray(cues, np.int32)
            return jax.device_get(_watched(self)(z, np.uint32(seed), given, decision_cue))

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write one trial: spikes of all neurons, potentials and rates of the output, modulation (`trial.png`)."""
        from optimizees.cue_association import figures as cue_figures

        trial = {name: value[0] for name, value in evaluation.artifacts.items()}
        title = f"{self.rule}, {self.noise} noise"
        return [cue_figures.trial(trial, self.schedule, self.delta_tau, self.v_th, title, folder / "trial.png")]

    @property
    def schedule(self) -> "Schedule":
        from optimizees.cue_association.trials import Schedule

        return Schedule(*(getattr(self, name) for name in Schedule._fields))

    def _simulate(self, z: Any, trials: "Trials", keep: int) -> tuple["Layer", "Layer"]:
        """Return what hidden and output layer do, the hidden spikes of `keep` trials; traced."""
        from l2l_snn.snn import differentiable as rules
        from l2l_snn.snn.cells import SRMAlpha
        from l2l_snn.snn.surrogate import exponential, smooth
        from optimizees.cue_association.network import layer, send

        classes = {
            "decay": rules.DPLinearDecay,
            "oja": rules.DPOja,
            "bcm": rules.DPBCM,
            "nd_oja": rules.NDPOja,
            "nd_bcm": rules.NDPBCM,
        }
        params = self.space.decode(z)
        spike = smooth(self.smooth) if self.smooth else exponential(self.surrogate_tau, self.surrogate_scale)
        cell = SRMAlpha(self.v_th, self.tau_s, self.tau_ref, self.scale_ref, spike)
        sent, done = send(cell, trials.spikes, STEP, round(self.delta_tau / STEP)), []
        for name in LAYERS:
            own = {key.removesuffix(f"_{name}"): value for key, value in params.items() if key.endswith(f"_{name}")}
            w = own.pop("w")
            fixed = {"delta_tau": self.delta_tau, "e_max": self.e_max}
            rule = None if self.rule == "none" else classes[self.rule](**own, **fixed)
            done.append(layer(cell, rule, w, sent, STEP, len(trials.answer) if name == "out" else keep))
            sent = done[-1].sent
        return done[0], done[1]

    def _log_odds(self, trials: "Trials", out: "Layer") -> Any:
        """Return (B, 2) the gain times the output neurons' spikes per ms of the decision interval; traced."""
        deciding = trials.deciding[:, :, None]
        return self.gain * (out.spikes * deciding).sum(axis=0) / (deciding.sum(axis=0) * STEP)

    def _draw_trials(self, key: Any, cues: Any, count: int, decision_cue: Any) -> "Trials":
        import jax

        from optimizees.cue_association import trials as cue_trials

        of_order, of_spikes = jax.random.split(key)
        own, rests = cue_trials.draw(self.schedule, of_order, count)
        probabilities = cue_trials.NOISE[self.noise]
        cues = own if cues is None else cues
        return cue_trials.trials(self.schedule, probabilities, of_spikes, cues, rests, decision_cue)

    def _evaluate(self, z: Any, seed: Any) -> tuple[Any, tuple[dict, dict]]:
        """Return fitness, metrics and artifacts of one network; traced."""
        import jax

        from optimizees.cue_association import trials as cue_trials

        of_trials, of_actions = jax.random.split(jax.random.key(seed))
        trials = self._draw_trials(of_trials, None, self.trials, True)
        hidden, out = self._simulate(z, trials, 1)
        log_odds = self._log_odds(trials, out)
        fitness, accuracy = cue_trials.reward(log_odds, trials.answer, of_actions, self.decision)
        metrics = {"accuracy": accuracy}
        for name, layer in zip(LAYERS, (hidden, out), strict=True):
            metrics[f"rate_{name}"] = layer.sent.counts.mean() * 1000.0 / self.delta_tau
            metrics[f"plastic_{name}"] = layer.plastic[-1].mean()
        told = self._told(trials, hidden, out, log_odds, 1)
        return fitness, (metrics, {name: value[0] for name, value in told.items()})

    def _told(self, trials: "Trials", hidden: "Layer", out: "Layer", log_odds: Any, count: int) -> dict[str, Any]:
        """Return what `watch` does, of the first trials; traced."""
        import jax

        told = {
            "inputs": trials.spikes,
            "hidden": hidden.spikes,
            "out": out.spikes,
            "potential": out.potentials,
            "modulation_hidden": hidden.modulation,
            "modulation_out": out.modulation,
            "plastic_hidden": hidden.plastic,
            "plastic_out": out.plastic,
            "deciding": trials.deciding,
        }
        of_trials = {"cues": trials.cues, "answer": trials.answer, "probability": jax.nn.softmax(log_odds)}
        told = {name: value[:, :count].swapaxes(0, 1) for name, value in told.items()}
        return told | {name: value[:count] for name, value in of_trials.items()}


def _check_multiple(name: str, time: float, step: float) -> None:
    if abs(time / step - round(time / step)) > 1e-6:
        raise ValueError(message(name, f"a multiple of {step:g} ms", time))


@lru_cache(maxsize=16)
def _compiled(optimizee: CueAssociation, with_grad: bool) -> Any:
    """Return the jitted function (z (D,), seed) -> fitness, metrics, artifacts and, if asked, d fitness / d z."""
    import jax

    def plain(z: Any, seed: Any) -> Any:
        fitness, (metrics, artifacts) = optimizee._evaluate(z, seed)
        return fitness, metrics, artifacts

    def slope(z: Any, seed: Any) -> Any:
        (fitness, (metrics, artifacts)), grad = jax.value_and_grad(optimizee._evaluate, has_aux=True)(z, seed)
        return fitness, metrics, artifacts, grad

    return jax.jit(slope if with_grad else plain)


@lru_cache(maxsize=16)
def _watched(optimizee: CueAssociation) -> Any:
    """Return the jitted function (z (D,), seed, cues (B, K) or None, decision cue) -> what `watch` returns."""
    import jax

    def watched(z: Any, seed: Any, cues: Any, decision_cue: Any) -> dict[str, Any]:
        of_trials, _ = jax.random.split(jax.random.key(seed))
        count = optimizee.trials if cues is None else len(cues)
        trials = optimizee._draw_trials(of_trials, cues, count, decision_cue)
        hidden, out = optimizee._simulate(z, trials, count)
        return optimizee._told(trials, hidden, out, optimizee._log_odds(trials, out), count)

    return jax.jit(watched)
