"""Every experiment takes int64 seeds, those above 2^32 too, and tells them from their lower halves."""

import importlib
import inspect

import numpy as np
import pytest
from places import ROOT

from l2l_snn import BatchOptimizee
from optimizees.acrobot.optimizee import Acrobot
from optimizees.agent.life import Life
from optimizees.arm import Brain, EmbodiedArm, Loop, ShiftedSine, Training
from optimizees.cartpole.optimizee import CartPole
from optimizees.classify import STBP, Examples, FrameLSNN, Gated, LinearFrames, SequentialLSNN
from optimizees.command import CommandOptimizee
from optimizees.cue_association import CueAssociation, RecurrentCueAssociation, Schedule
from optimizees.functions import Function
from optimizees.gym import Gym
from optimizees.gym.networks import Perceptron
from optimizees.hybrid import Modulation, Reasoning, Recordings, Scenes, Sensing, Tasks
from optimizees.hybrid import Training as HybridTraining
from optimizees.l2l_adapter import L2LOptimizee
from optimizees.mountain_car.optimizee import MountainCar
from optimizees.pendulum.optimizee import Pendulum
from optimizees.stdp_lab.optimizee import Pair, SingleNeuron, STDPLab
from optimizees.teacher.learner import LSNN
from optimizees.teacher.optimizee import Teacher
from optimizees.vehicle.optimizee import Vehicle
from optimizees.vehicle.world import Arena

pytestmark = pytest.mark.usefixtures("compiled_soon", "pictures", "speech")

SPEECH = Examples(set="timit", batch=3, frames=20, held_out=4)
DIGITS = Examples(batch=12, pool=4, held_out=20)
HYBRID = HybridTraining(batch=12)
TASKS = Tasks(pool=4, held_out=20, context=4, contexts=1)
CUES = Schedule(cues=3, cue=10.0, gap=5.0, rests=(10.0, 15.0), horizon=80.0, group=3)
EVERY = [  # each as small as it gets
    Acrobot(mode="mlp", mlp_hidden=2, life=Life(episodes=1, fresh=1)),
    CartPole(mode="mlp", mlp_hidden=2, life=Life(episodes=2, fresh=2)),
    CueAssociation(
        schedule=CUES,
        trials=2,
        delta_tau=10.0,
        hidden=4,
        w_hidden=2.0,
        w_out=8.0,
        rule="none",
        decision="sampled",
    ),
    FrameLSNN(data=SPEECH, excitatory=2, inhibitory=1, adaptive=1, frame_ms=3, delay=2.0),
    EmbodiedArm(
        Loop(brain=Brain(reservoir=4), max_angle=0.61),
        Training(epochs=1, steps=60, tail=20, form="backward", angle_low=0.58),
        windows=(20,),
        angles=(20.0,),
    ),
    Function("sphere", dimension=3, noise=1.0),
    Gated(data=DIGITS, units=2),
    Gym(network="perceptron", perceptron=Perceptron((2,)), envs=2, horizon=40, choice="best"),
    Modulation(
        training=HYBRID,
        tasks=TASKS,
        hidden=9,
        backbone=3,
        steps=2,
        window=2,
    ),
    LinearFrames(data=SPEECH, context=1),
    MountainCar(steps=10, backend="jax"),
    Pendulum(mode="mlp", mlp_hidden=2, life=Life(episodes=1, fresh=1)),
    RecurrentCueAssociation("bptt", trials=4, regular=2, adaptive=2, schedule=CUES),
    Reasoning(
        training=HYBRID, scenes=Scenes(count=20), steps=2, window=2, group=1, number=1, hidden=3, parser=3, words=3
    ),
    STBP(data=DIGITS, hidden=(9,), steps=2),
    SequentialLSNN(data=DIGITS, regular=2, adaptive=1, thresholds=2, cue_ms=12, answer_ms=5, delay=1.0, t_ref=1.0),
    Sensing(training=HYBRID, recordings=Recordings(frames=2, count=20), hidden=4, features=3, head=3, number=4),
    ShiftedSine(brain=Brain(reservoir=4), iterations=1, steps=40),
    SingleNeuron(pair=Pair(duration=20.0), backend="jax"),
    STDPLab(duration=200.0),
    Teacher(
        gain=4.0,
        examples=4,
        episodes=2,
        lsnn=LSNN(regular=4, adaptive=3, coding=6, step_ms=5, delay_max=1.0),
        skip=1,
    ),
    Vehicle(mode="mlp", mlp_hidden=2, tests=2, shown=1, arena=Arena(obstacles=1, blocking=0, steps=20)),
]
USERS = {CommandOptimizee, L2LOptimizee}  # what they do with a seed is the user's own
CERTAIN = {SingleNeuron}  # nothing in it is random
SEEDS = np.array([1, 2**32 + 1, 2**33 + 1, 2**63 - 1])


def test_no_experiment_is_left_out():
    found = set()
    for path in (ROOT / "optimizees").rglob("*.py"):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        found |= {kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, BatchOptimizee)}
    assert {type(one) for one in EVERY} | USERS == {
        kind for kind in found if kind.__module__.startswith("optimizees") and not inspect.isabstract(kind)
    }


@pytest.mark.parametrize("optimizee", EVERY, ids=lambda one: type(one).__name__)
def test_large_seeds_are_seeds_of_their_own(optimizee):
    z = np.repeat(optimizee.space.sample(np.random.default_rng(1), 1), len(SEEDS), axis=0)
    evaluation = optimizee.evaluate_batch(z, SEEDS)
    assert not any(evaluation.errors)
    rows = np.stack([evaluation.fitness, *evaluation.metrics.values()], axis=1)
    different = len(np.unique(rows, axis=0))
    assert different == (1 if type(optimizee) in CERTAIN else len(SEEDS))
