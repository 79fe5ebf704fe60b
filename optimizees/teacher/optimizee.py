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
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import JaxOptimizee
from l2l_snn.space import Free, Space
from l2l_snn.validate import Count, CountFromZero, NotNegative, Positive, message
from optimizees.teacher.functions import FAMILIES, hint_grid, hints, linear_predictions, sample_episodes
from optimizees.teacher.learner import LSNN, Learner

SHOWN = 25  # examples of which a picture shows the spikes


@dataclass(frozen=True)
class Teacher(JaxOptimizee):
    """The source's network and task are the defaults; `functions.py` says what its text leaves open of the functions.

    Its numbers of delays, beta, t_ref, damping and the price of rates aren't told for this task: they are those of the
    authors' script of sequential MNIST.
    """

    fitness_label = "fitness: -(mean squared error + prices of rates and hints)"
    side_by_side = False  # the episodes of one network are work enough
    family: Literal["network", "sinus"] = "network"  # of the functions
    gain: Positive = 1.0  # before each sigmoid of a target network; 1 in the source
    examples: Count = 500  # E
    episodes: Count = 10  # B, functions an evaluation averages over
    lsnn: LSNN = LSNN()  # the network that learns
    price: NotNegative = 0.1  # of the squared distance of each neuron's rate to `target_rate`, spikes / ms, summed
    target_rate: NotNegative = 10.0  # Hz
    hints: NotNegative = 0.0  # price of errors of more readouts, there in training alone: see `functions.hints`
    hinted: bool = False  # whether those are in the space where their price is 0: a schedule may let it fall to that
    unweighed: CountFromZero = 0  # examples at first whose errors don't count in the fitness
    skip: CountFromZero = 20  # examples before which no answer counts in the metrics `mse_late` and `linear_late`
    checkpoint: CountFromZero = 0  # steps between the states kept for the gradient; 0: all, faster

    def cross_check(self) -> None:
        if (self.hints or self.hinted) and not self.lsnn.adaptive:
            raise ValueError(message("hints", "0 where no neuron is adaptive", self.hints, "and hinted: false"))

    @property
    def learner(self) -> Learner:
        """The network, of inputs and answers of the family."""
        return Learner(self.family, self.lsnn)

    def make_space(self) -> Space:
        """Return weights of input (C (I + 1), N), recurrence (N, N), readout (N,), normal / sqrt(n), and its offset.

        With hints, weights and offsets of their readouts too: of all K from spike counts (N, K) and (K,), and of the
        function's G values from the traces of adaptive neurons, (A, G) and (G,).
        Adam's 0.01 of that script is a step of 0.01 sqrt(n) in z.
        """
        n_in, n = self.learner.sources, self.lsnn.neurons
        told = {}
        if self.hints or self.hinted:
            G = len(hint_grid(self.family))
            K = G + 2 * FAMILIES[self.family].inputs
            told = {"w_hint": Free((n, K), scale=0.2 * n**-0.5), "b_hint": Free((K,), scale=n**-0.5)}
            told |= {"w_trace": Free((self.lsnn.adaptive, G), scale=0.3), "b_trace": Free((G,), scale=n**-0.5)}
        return Space(
            w_in=Free((n_in, n), scale=n_in**-0.5),
            w_rec=Free((n, n), scale=n**-0.5),
            w_out=Free((n,), scale=0.25 * n**-0.5),
            b_out=Free(scale=n**-0.5),
            **told,
        )

    def evaluate(self, params: dict[str, Any], key: Any, *, watch: bool) -> Any:
        """Let a network learn B functions, the episodes side by side.

        Metrics: `mse`, over all examples; `mse_late` and `linear_late`, of the network and of the optimal linear
        predictor fitted to all preceding examples, from example `skip` on; `rate`, Hz. Artifacts: errors and
        linear_errors (P, E), squared, means over episodes; of the first episode x (P, E, I), y and answers (P, E),
        and spikes_in (P, S E, sources), spikes (P, S E, N) of its first 25 examples.
        """
        which, noise = jax.random.split(key)
        sampled = sample_episodes(self.family, which, self.episodes, self.examples, self.gain)
        episodes, learner = sampled[0], self.learner
        options = {"reverse_only": True, "checkpoint_every": self.checkpoint or None}
        answers, (spikes_in, spikes) = learner.run(params, noise, episodes, **options)
        rates = spikes.mean(axis=(0, 1))  # spikes / ms
        weighed = slice(min(self.unweighed, self.examples - 1), None)
        cost = jnp.mean(((answers - episodes.y)[:, weighed] / FAMILIES[self.family].unit) ** 2)
        cost += self.price * jnp.sum((rates - self.target_rate / 1000) ** 2)
        if self.hints:
            counts, wanted = learner.counts(spikes), jnp.swapaxes(hints(self.family, *sampled, self.gain), 0, 1)
            told = counts @ params["w_hint"] + params["b_hint"][None, None]
            kept = learner.traces(counts) @ params["w_trace"] + params["b_trace"][None, None]
            errors = jnp.mean((told - wanted) ** 2) + jnp.mean((kept - wanted[..., : kept.shape[-1]]) ** 2)
            cost += self.hints * errors
        found = {"x": episodes.x, "y": episodes.y, "answers": answers, "rate": 1000 * rates.mean()}
        steps = SHOWN * self.lsnn.step_ms
        return -cost, found | {"spikes_in": spikes_in[:steps, 0], "spikes": spikes[:steps, 0]}

    def summarize(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return metrics and artifacts, with the linear predictor's, which is fitted in numpy; see `evaluate`."""
        x, y, answers = found["x"], found["y"], found["answers"]  # (P, B, E, ...)
        errors = (answers - y) ** 2
        linear_errors = np.stack([(linear_predictions(*one) - one[1]) ** 2 for one in zip(x, y, strict=True)])
        late = slice(min(self.skip, self.examples - 1), None)
        return {
            "mse": np.array([one.mean() for one in errors]),
            "mse_late": np.array([one[:, late].mean() for one in errors]),
            "linear_late": np.array([one[:, late].mean() for one in linear_errors]),
            "rate": found["rate"],
            "errors": errors.mean(axis=1),
            "linear_errors": linear_errors.mean(axis=1),
            **{name: found[name][:, 0] for name in ("x", "y", "answers")},
            **{name: found[name] for name in ("spikes_in", "spikes")},
        }

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the error over examples beside the baselines, the internal model over examples, functions of the family
        and a raster; of sinuses, also the internal model where all examples lie on a straight line.
        """
        from optimizees.teacher import figures

        return figures.draw(self, params, evaluation, folder)
