"""A parabola with noise, and jobs of it; imported by workers too."""

from dataclasses import dataclass, field

import numpy as np

from l2l_snn import Choice, Optimizee, Real, Space
from l2l_snn.loop.job import Job
from l2l_snn.validate import NotNegative


@dataclass(frozen=True)
class Shape:
    """The parabola's."""

    steepness: float = 1.0


@dataclass(frozen=True)
class Bowl(Optimizee):
    """fitness = -steepness * (x^2 + |w|^2) + noise, and what the fields were."""

    noise: NotNegative = 0.1
    trials: int = 1
    shape: Shape = field(default_factory=Shape)
    space = Space(x=Real(-1, 1), w=Real(-2, 2, shape=(2,)), rule=Choice("stdp", "eprop"))

    def evaluate(self, params, seed):
        noise = self.noise * np.random.default_rng(seed).standard_normal()
        fitness = -self.shape.steepness * (params["x"] ** 2 + params["w"] @ params["w"])
        fields = {"noise": self.noise, "trials": self.trials, "steepness": self.shape.steepness}
        return fitness + noise, fields


@dataclass(frozen=True)
class Wider(Bowl):
    """The same in a larger space."""

    space = Space(x=Real(-3, 3), w=Real(-2, 2, shape=(2,)), rule=Choice("stdp", "eprop"))


def bowl_job(**entries) -> Job:
    classes = {"optimizee": {"class": "bowls:Bowl"}, "optimizer": {"class": "optimizers.ga:GeneticAlgorithm"}}
    return Job.model_validate({**classes, "generations": 4, **entries})
