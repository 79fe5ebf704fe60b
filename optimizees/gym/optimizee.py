"""Any gymnasium environment: a network acts in it, searched by evolution or trained by policy gradients.

    l2l run jobs/gym_cartpole_ppo.yaml
    l2l run jobs/gym_cartpole_ppo.yaml --set optimizer.class=optimizers.snes:SNES ...        the same by evolution

An individual acts in B environments side by side, which all begin anew from the seed; no episode goes on from one
evaluation to the next, so that an evaluation follows from z and its seed alone. Fitness is the mean return of the first
episode of each environment, so far as it comes within H steps: B whole episodes if H is their limit.

Legend: P individuals, D search coordinates, B environments, H steps of each, K steps of a segment, O numbers of an
observation, A outputs.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np

from l2l_snn.evaluation import Evaluation, Experience, Learning, describe_error, failure
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Space
from l2l_snn.validate import Count, CountFromZero, Finite, Share, message
from optimizees.gym.actions import Choose
from optimizees.gym.environment import Noise, Worlds, describe
from optimizees.gym.lsnn import LSNN
from optimizees.gym.networks import LIFLayers, Network, Perceptron
from optimizees.gym.plastic import PlasticLayers
from optimizees.gym.rewiring import rewire
from optimizees.gym.rollout import cut_segments, first_rate, first_returns, log_probs, roll_out
from optimizees.gym.setup import Setup, Shaping
from optimizees.gym.twin import roll_out_compiled


@dataclass(frozen=True)
class Gym(BatchOptimizee):
    """An agent in an environment, by its name.

    The space: the network's parameters and, of continuous actions, `log_std`, the logarithms of the standard deviations
    of their noise. A network without state is one segment a step; of one with state, gradients go back K steps.
    """

    has_experience = True
    side_by_side = False  # the environments of one individual are work enough
    fitness_label = "fitness: mean return"
    environment: str = "CartPole-v1"  # "module:Name-v0" imports the module first
    network: Literal["perceptron", "lif", "plastic", "lsnn"] = "lif"  # which of those below acts
    perceptron: Perceptron = Perceptron()
    lif: LIFLayers = LIFLayers()
    plastic: PlasticLayers = PlasticLayers()
    lsnn: LSNN = LSNN()
    engine: Literal["gymnasium", "jax"] = "gymnasium"  # jax: compiled rollouts, for environments that have a twin in it
    envs: Count = 8  # B
    horizon: Count = 500  # H
    segment: Count = 10  # K, of networks with state
    choice: Choose = "sampled"  # of actions; evolution does well with the best
    epsilon: Share = (
        0.4  # with choice epsilon: environment i explores with epsilon^(1 + 7 i / (B - 1)) (see `epsilons`)
    )
    low: tuple[Finite, ...] = ()  # (O,) where observations begin: -1 to the network; (): by the environment's space
    high: tuple[Finite, ...] = ()  # (O,) where they end: 1
    observe: tuple[CountFromZero, ...] = ()  # which numbers of an observation are used; (): all
    log_std: Finite = -0.5  # first logarithm of the standard deviation of continuous actions, whose range is [-1, 1]
    noise: Noise = Noise()
    shaping: Shaping = Shaping()
    forget: bool = False  # a control: the network's state begins anew after each reward above 0, too

    def cross_check(self) -> None:
        if self.acting.keeps_state and self.horizon % self.segment:
            todo = f"e.g. {max(self.horizon - self.horizon % self.segment, self.segment)}"
            raise ValueError(message("horizon", f"a multiple of segment, {self.segment}", self.horizon, todo))
        numbers = len(self.worlds.low)
        if any(i >= numbers for i in self.observe):
            raise ValueError(message("observe", f"numbers below {numbers}", self.observe))
        used = len(self.observe) or numbers
        for name in ("low", "high"):
            if len(getattr(self, name)) not in (0, used):
                raise ValueError(message(name, f"{used} numbers, or none", len(getattr(self, name))))
        if any(low >= high for low, high in zip(*self.limits, strict=True)):
            raise ValueError(message("low", "numbers below those of high", self.limits))
        self.acting.check_ends(used, self.worlds.actions)
        if self.choice == "epsilon" and not self.worlds.actions.discrete:
            raise ValueError(message("choice", "sampled or best with continuous actions", self.choice))
        if self.noise.action and self.worlds.actions.discrete:
            raise ValueError(message("noise.action", "0 with discrete actions", self.noise.action, "choice: epsilon"))
        if self.engine == "jax" and self.worlds.twin is None:
            raise ValueError(message("engine", "gymnasium", f"jax, in which {self.environment} isn't written"))
        if self.engine == "jax" and self.noise != Noise():
            raise ValueError(message("noise", "none with engine jax", self.noise))
        if self.engine != "jax" and self.shaping.weight:
            raise ValueError(message("shaping.weight", "0 without engine jax", self.shaping.weight))

    @property
    def worlds(self) -> Worlds:
        """What there is to see and to do."""
        return describe(self.environment)

    @property
    def acting(self) -> Network:
        """The network that acts."""
        return getattr(self, self.network)

    @property
    def setup(self) -> Setup:
        """What a rollout needs to know."""
        segment = self.segment if self.acting.keeps_state else 1
        length = self.envs, self.horizon, segment
        choice = self.choice, self.epsilon
        return Setup(
            self.environment,
            self.acting,
            *length,
            *choice,
            *self.limits,
            self.observe,
            self.log_std,
            self.noise,
            self.forget,
            self.shaping,
        )

    @property
    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(O,) lowest and highest usual numbers of an observation."""
        used = self.observe or range(len(self.worlds.low))
        low, high = ([ends[i] for i in used] for ends in (self.worlds.low, self.worlds.high))
        return self.low or tuple(low), self.high or tuple(high)

    @property
    def segments(self) -> tuple[int, int]:
        """What `l2l_snn.evaluation.Acting.segments` says."""
        steps = self.setup.segment
        return self.envs * self.horizon // steps, steps

    def check_learning(self, by: Learning) -> None:
        """Do what `l2l_snn.evaluation.Acting.check_learning` says."""
        if by == "log_probs" and self.choice != "sampled":
            raise ValueError(message("choice", "sampled, an action whose probability is known", self.choice))
        if by == "action_values":
            if not self.worlds.actions.discrete:
                todo = "take optimizers.ppo:PPO"
                raise ValueError(message("environment", "discrete actions", self.environment, todo))
            if self.acting.keeps_state or self.acting.is_random:
                got = f"{self.network} with state or random input"
                raise ValueError(message("network", "one whose outputs follow from an observation alone", got))
            if self.choice == "best":
                raise ValueError(message("choice", "epsilon, or sampled, which explore", self.choice))

    def make_space(self) -> Space:
        """Return the network's parameters, and `log_std` (A,) of continuous actions."""
        return self.setup.space

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P individuals act, one after another.

        Metrics: `steps` (mean length of first episodes), `env_steps` (all steps taken in environments), `rate` (spikes
        of a neuron an action, in them). Artifacts: `returns` and `lengths` (B,) of the first episodes.
        """
        return Evaluation.join([self._evaluate_row(*row, False) for row in zip(z, seeds, strict=True)])

    def gather(self, z: np.ndarray, seeds: np.ndarray) -> Evaluation:
        """Let P individuals act for all H steps, and keep what they met and did."""
        return Evaluation.join([self._evaluate_row(*row, True) for row in zip(z, seeds, strict=True)])

    def _evaluate_row(self, z: np.ndarray, seed: int, gathered: bool) -> Evaluation:
        try:
            roll = roll_out_compiled if self.engine == "jax" else roll_out
            rollout = roll(self.setup, z, int(seed), gathered)
        except Exception as error:  # an environment may raise anything
            return failure(1, 1, describe_error(error))
        returns, lengths = first_returns(rollout)
        metrics = {"steps": lengths.mean(), "env_steps": rollout.rewards.size, "rate": first_rate(rollout)}
        told = {
            "observations": rollout.told,
            "next_observations": rollout.told_next,
            "rewards": rollout.shaped,
            **{name: getattr(rollout, name) for name in ("terminated", "truncated", "actions", "log_probs")},
        }
        # without what its methods don't read, whose schedules would have an optimizer compile anew
        policy = replace(self, noise=Noise(), epsilon=0.0)
        rows = {name: np.ascontiguousarray(value.swapaxes(0, 1)) for name, value in told.items()}
        experience = (Experience(**rows, segments=cut_segments(rollout), policy=policy),) if gathered else ()
        return Evaluation(
            returns.mean()[None],
            {name: np.array([float(value)]) for name, value in metrics.items()},
            {"returns": returns[None], "lengths": lengths[None]},
            experience=experience,
        )

    def log_probs(self, z: Any, segments: Any) -> tuple[Any, Any]:
        """Return what `l2l_snn.evaluation.Policy.log_probs` says."""
        return log_probs(self.setup, z, segments)

    def rewire(self, before: Any, after: Any, rate: Any, words: Any) -> Any:
        """Return what `l2l_snn.evaluation.Policy.rewire` says."""
        return rewire(self.setup, before, after, rate, words)

    def action_values(self, z: Any, observations: Any) -> Any:
        """Return (N, A) outputs for observations (N, O), of a network without state or random input."""
        params, key = self.space.decode(z), jax.random.key(0)
        return jax.vmap(lambda seen: self.acting.step(params, self.acting.init(params), seen, key)[1])(observations)
