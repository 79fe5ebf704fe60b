"""A spiking network that learns functions from a teacher in its state, with fixed weights (004, section 5).

What is optimised are the weights of a network of regular and adaptive LIF neurons; in each episode it meets a function
that it has never seen and has to answer to one input after the other, being told the right answer to the one before.
Fitness is the negative mean squared error over all examples of all episodes (of sinuses in units of 5, half the range
of their values), less the price of rates and, if wanted, the error of hints. By gradient (GradientAscent) or by
evolution, the optimizee is the same.

    l2l run jobs/teacher_sinus.yaml

Legend: P individuals, B episodes, E examples, N neurons, S steps of 1 ms an example.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Free, Space
from l2l_snn.validate import check_choice, check_count, check_range, message


@dataclass(frozen=True)
class Teacher(BatchOptimizee):
    """The source's network and task are the defaults; `functions.py` says what its text leaves open."""

    has_grad: ClassVar[bool] = True
    fitness_label: ClassVar[str] = "fitness: -(mean squared error + prices of rates and hints)"
    family: Literal["network", "sinus"] = "network"  # of the functions
    gain: float = 1.0  # before each sigmoid of a target network; 1 in the source
    examples: int = 500  # E
    episodes: int = 10  # B, functions an evaluation averages over
    regular: int = 180  # LIF neurons
    adaptive: int = 120  # adaptive LIF neurons
    coding: int = 100  # neurons that code each value
    step_ms: int = 20  # S, ms an example is shown
    delay: float = 1.0  # ms, synaptic delay, the shortest ...
    delay_max: float = 10.0  # ms, ... and the longest; drawn for each synapse, unless they are the same
    beta: float = 1.8  # ms, rise of the threshold of adaptive neurons
    tau_m: float = 20.0  # ms, membrane time constant
    tau_a_min: float = 1.0  # ms, time constants of adaptation, uniform from here ...
    tau_a_max: float = 1000.0  # ms, ... to here
    t_ref: float = 5.0  # ms, refractory time
    damping: float = 0.3  # of the surrogate derivative
    rate: float = 200.0  # Hz, of a source whose preferred value is shown
    sharpness: float = 50.0  # of the code: exp(-sharpness (x - preferred)^2), all values in [-1, 1]
    price: float = 0.1  # of the squared distance of each neuron's rate to `target_rate`, spikes / ms, summed
    target_rate: float = 10.0  # Hz
    hints: float = 0.0  # price of errors of more readouts, there in training alone: see tasks.teacher.hints
    skip: int = 20  # examples before which an answer isn't counted in the metrics `mse_late` and `linear_late`
    checkpoint: int = 0  # steps between the states kept for the gradient; 0: all, faster

    def __post_init__(self) -> None:
        check_choice("family", self.family, ("network", "sinus"))
        for name in ("examples", "episodes", "coding", "step_ms"):
            check_count(name, getattr(self, name), 2 if name == "coding" else 1)
        for name in ("regular", "adaptive", "skip", "checkpoint"):
            check_count(name, getattr(self, name), 0)
        if self.hints and not self.adaptive:
            raise ValueError(message("hints", "0 where no neuron is adaptive", self.hints))
        if not self.regular + self.adaptive:
            raise ValueError(message("regular + adaptive", "at least one neuron", 0))
        for name in ("gain", "delay", "tau_m", "tau_a_min", "damping", "rate", "sharpness"):
            check_range(name, getattr(self, name), 0.0, open_low=True)
        for name in ("beta", "t_ref", "price", "target_rate", "hints"):
            check_range(name, getattr(self, name), 0.0)
        check_range("tau_a_max", self.tau_a_max, self.tau_a_min)
        check_range("delay_max", self.delay_max, self.delay)
        for name in ("delay", "delay_max"):
            if getattr(self, name) % 1:
                raise ValueError(message(name, "a multiple of 1 ms, the network's step", f"{getattr(self, name):g} ms"))
        check_range("rate", self.rate, 0.0, 1000.0)

    def make_space(self) -> Space:
        """Return weights of input (C (I + 1), N), recurrence (N, N), readout (N,), normal / sqrt(n), and its offset.

        With hints, weights and offsets of their readouts too: of all K from spike counts (N, K) and (K,), and of the
        function's G values from the traces of adaptive neurons, (A, G) and (G,).
        Adam's 0.01 of the source is a step of 0.01 sqrt(n) in z.
        """
        learner = self._learner()
        n_in, n = learner.sources, learner.neurons
        told = {}
        if self.hints:
            from optimizees.teacher.functions import FAMILIES, hint_grid

            G = len(hint_grid(self.family))
            K = G + 2 * FAMILIES[self.family].inputs
            told = {"w_hint": Free((n, K), scale=0.2 * n**-0.5), "b_hint": Free((K,), scale=n**-0.5)}
            told |= {"w_trace": Free((self.adaptive, G), scale=0.3), "b_trace": Free((G,), scale=n**-0.5)}
        return Space(
            w_in=Free((n_in, n), scale=n_in**-0.5),
            w_rec=Free((n, n), scale=n**-0.5),
            w_out=Free((n,), scale=0.25 * n**-0.5),
            b_out=Free(scale=n**-0.5),
            **told,
        )

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let each individual learn B functions: the episodes side by side, the individuals one after the other.

        Metrics: `mse`, over all examples; `mse_late` and `linear_late`, of the network and of the optimal linear
        predictor fitted to all preceding examples, from example `skip` on; `rate`, Hz. Artifacts: errors and
        linear_errors (P, E), squared, means over episodes; of the first episode x (P, E, I), y and answers (P, E),
        and spikes_in (P, S E, sources), spikes (P, S E, N) of its first 25 examples.
        """
        import jax
        import jax.numpy as jnp

        run = _compiled(self, with_grad)
        rows = []
        for i in range(len(z)):
            key = jax.random.key(jnp.asarray(seeds[i], jnp.uint32))
            (fitness, details), grad = run(jnp.asarray(z[i], jnp.float32), key)
            details = {name: np.asarray(value) for name, value in details.items()}
            rows.append(self._row(float(fitness), details, np.asarray(grad, np.float64), with_grad, with_artifacts))
        return Evaluation.join(rows)

    def _row(self, fitness: float, got: dict[str, Any], grad: Any, with_grad: bool, with_artifacts: bool) -> Evaluation:
        from optimizees.teacher.functions import linear_predictions

        errors = (got["answers"] - got["y"]) ** 2
        linear_errors = (linear_predictions(got["x"], got["y"]) - got["y"]) ** 2
        late = slice(min(self.skip, self.examples - 1), None)
        metrics = {
            "mse": errors.mean(),
            "mse_late": errors[:, late].mean(),
            "linear_late": linear_errors[:, late].mean(),
            "rate": got["rate"],
        }
        artifacts = {}
        if with_artifacts:
            shown = 25 * self.step_ms
            artifacts = {"errors": errors.mean(axis=0)[None], "linear_errors": linear_errors.mean(axis=0)[None]}
            artifacts |= {name: got[name][:1] for name in ("x", "y", "answers")}
            artifacts |= {name: got[name][None, :shown] for name in ("spikes_in", "spikes")}
        return Evaluation(
            np.array([fitness]),
            {name: np.array([float(value)]) for name, value in metrics.items()},
            artifacts,
            grad[None] if with_grad else None,
        )

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the error over examples beside the baselines, the internal model over examples, and a raster."""
        from optimizees.teacher import figures as teacher_figures

        return teacher_figures.draw(self, self._learner(), params, evaluation, folder)

    def _learner(self) -> Any:
        from optimizees.teacher.learner import Learner

        own = {name: getattr(self, name) for name in Learner._fields if name != "tau_a"}
        return Learner(**own, tau_a=(self.tau_a_min, self.tau_a_max))


@lru_cache(maxsize=8)
def _compiled(teacher: Teacher, with_grad: bool) -> Any:
    """Return the jitted function (z (D,), key) -> ((fitness, details), gradient or 0)."""
    import jax
    import jax.numpy as jnp

    from optimizees.teacher.functions import FAMILIES, draw_episodes, hints

    learner, space = teacher._learner(), teacher.space
    unit = FAMILIES[teacher.family].unit

    def fitness(z: Any, key: Any) -> Any:
        which, noise = jax.random.split(key)
        drawn = draw_episodes(teacher.family, which, teacher.episodes, teacher.examples, teacher.gain)
        episodes, params = drawn[0], space.decode(z)
        options = {"reverse_only": with_grad, "checkpoint_every": teacher.checkpoint or None}
        answers, (spikes_in, spikes) = learner.run(params, noise, episodes, **options)
        rates = spikes.mean(axis=(0, 1))  # spikes / ms
        cost = jnp.mean(((answers - episodes.y) / unit) ** 2)
        cost += teacher.price * jnp.sum((rates - teacher.target_rate / 1000) ** 2)
        if teacher.hints:
            counts, wanted = learner.counts(spikes), jnp.swapaxes(hints(teacher.family, *drawn, teacher.gain), 0, 1)
            told = counts @ params["w_hint"] + params["b_hint"][None, None]
            kept = learner.traces(counts) @ params["w_trace"] + params["b_trace"][None, None]
            errors = jnp.mean((told - wanted) ** 2) + jnp.mean((kept - wanted[..., : kept.shape[-1]]) ** 2)
            cost += teacher.hints * errors
        details = {"x": episodes.x, "y": episodes.y, "answers": answers, "rate": 1000 * rates.mean()}
        details |= {"spikes_in": spikes_in[:, 0], "spikes": spikes[:, 0]}
        return -cost, details

    if with_grad:
        return jax.jit(jax.value_and_grad(fitness, has_aux=True))
    return jax.jit(lambda z, key: (fitness(z, key), 0.0))
