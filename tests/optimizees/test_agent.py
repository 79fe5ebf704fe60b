"""What all agents share (optimizees/agent/optimizee.py), shown with CartPole's."""

from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from places import JOBS

from l2l_snn.loop.components import build
from l2l_snn.loop.job import load
from l2l_snn.loop.job_file import JobError
from l2l_snn.seeding import seed_words
from optimizees.acrobot import Acrobot
from optimizees.agent import Agent, Body, Learning, Life, figures
from optimizees.agent.genome import rule_space
from optimizees.agent.lives import newborn
from optimizees.agent.task import signed
from optimizees.cartpole import CartPole
from optimizees.cartpole import figures as cartpole_figures
from optimizees.cartpole.task import TASKS
from optimizees.pendulum import Pendulum

pytestmark = pytest.mark.usefixtures("compiled_soon")

SMALL = replace(CartPole.body, cells=(3, 3, 3, 3), motor=2, step_ms=10.0, rate=2000.0)
LIFE = CartPole(body=SMALL, life=Life(episodes=6, budget=600, share=0.5))
WEIGHTS = CartPole(body=SMALL, mode="weights", life=Life(episodes=3))
SEEDS = np.arange(4)


def genomes(optimizee, n):
    return optimizee.space.sample(np.random.default_rng(0), n)


@pytest.fixture(scope="module")
def evaluation():
    return LIFE.evaluate_batch(genomes(LIFE, 4), SEEDS, with_artifacts=True)


def test_wide_bounds_hold_the_narrow_ones_and_the_jobs_that_have_them_are_readable():
    narrow, wide = (rule_space(Learning(bounds=bounds)) for bounds in ("narrow", "wide"))
    assert list(narrow) == list(wide)
    assert all(wide[name].low <= one.low and one.high <= wide[name].high for name, one in narrow.items())
    differing = {name for name in narrow if wide[name] != narrow[name]}
    assert differing == {"eta", "a_minus", "reward", "punish"}
    for name in ("cartpole_improvement", "cartpole_both_full", "pendulum_stdp_rl_wide"):
        optimizee = load(JOBS / f"{name}.yaml")[1]
        assert {key: optimizee.space.parameters[key] for key in differing} == {key: wide[key] for key in differing}
    evol = load(JOBS / "cartpole_evol.yaml")[2]
    assert (evol.population, evol.sigma) == (10, 0.1)


def test_fitness_is_the_mean_return_of_the_last_share_of_the_episodes_lived(evaluation):
    returns = evaluation.artifacts["returns"]
    np.testing.assert_allclose(evaluation.fitness, returns[:, 3:].mean(axis=1))
    np.testing.assert_array_equal(evaluation.fitness, evaluation.metrics["last_return"])
    np.testing.assert_allclose(evaluation.metrics["first_return"], returns[:, :3].mean(axis=1))
    np.testing.assert_allclose(evaluation.metrics["mean_return"], returns.mean(axis=1))
    np.testing.assert_array_equal(evaluation.metrics["steps"], returns.sum(axis=1))
    drift = np.abs(evaluation.artifacts["after.sensor_motor"] - evaluation.artifacts["before.sensor_motor"])
    np.testing.assert_allclose(evaluation.metrics["drift"], drift.mean(axis=(1, 2)), rtol=1e-5)
    assert (drift.max(axis=(1, 2)) > 0.01).all()
    assert np.isnan(evaluation.metrics["fresh_return"]).all()


def test_a_life_depends_on_its_genome_and_seed_alone(evaluation):
    """Not on its place in the batch, nor on its neighbours; the rest of the contract: test_agent_perceptron.py."""
    z, order = genomes(LIFE, 4), [3, 0, 1, 2]
    moved = LIFE.evaluate_batch(z[order], SEEDS[order], with_artifacts=True)
    among_others = LIFE.evaluate_batch(
        np.concatenate([z[:2], 0.5 * z[2:]]), np.array([0, 1, 77, 78]), with_artifacts=True
    )
    for kind in ("metrics", "artifacts"):
        for name, values in getattr(evaluation, kind).items():
            np.testing.assert_array_equal(getattr(moved, kind)[name], values[order])
            np.testing.assert_array_equal(getattr(among_others, kind)[name][:2], values[:2])
    assert (among_others.metrics["drift"][2:] != evaluation.metrics["drift"][2:]).all()


def test_a_frozen_life_keeps_its_weights_and_begins_as_the_one_that_learns(evaluation, tmp_path):
    z, frozen = genomes(LIFE, 4)[2:3], replace(LIFE, learning=Learning(plasticity="frozen"))
    still = frozen.evaluate_batch(z, SEEDS[2:3], with_artifacts=True)
    np.testing.assert_array_equal(still.metrics["drift"], 0.0)
    np.testing.assert_array_equal(still.artifacts["after.sensor_motor"], still.artifacts["before.sensor_motor"])
    np.testing.assert_array_equal(
        still.artifacts["before.sensor_motor"], evaluation.artifacts["before.sensor_motor"][2:3]
    )
    np.testing.assert_array_equal(still.artifacts["state"][:, 0], evaluation.artifacts["state"][2:3, 0])
    assert (still.artifacts["returns"] > 0).all()
    files = frozen.draw(frozen.space.decode(z[0]), still, tmp_path, video=True)
    names = ["episode.gif", "episode.png", "raster.png", "returns.png", "weights.png"]
    assert sorted(file.name for file in files) == names
    assert all(file.stat().st_size > 5000 for file in files)


def test_pictures_show_the_last_action_and_no_legend_over_the_points(monkeypatch, tmp_path):
    kept = []
    for module in (figures, cartpole_figures):
        monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure) or path)
    action = np.array([0.5, -1.0, 2.0])
    figures.episode(figures.Episode(np.zeros((4, 2)), action, np.zeros((3, 1))), tmp_path / "e.png")
    cartpole_figures.episode(
        figures.Episode(np.zeros((4, 4)), np.array([0, 1, 0]), np.zeros((3, 2))), tmp_path / "e.png"
    )
    figures.returns(np.array([1.0, 5.0, np.nan]), tmp_path / "r.png", LIFE.return_label)
    for figure, values in zip(kept[:2], (action, [0, 1, 0]), strict=True):
        steps = figure.axes[-1].patches[0].get_data()
        np.testing.assert_array_equal(steps.values, values)
        np.testing.assert_array_equal(steps.edges, [0, 1, 2, 3])  # the last one is as long as the others
    axes = kept[2].axes[0]
    assert (axes.get_legend(), axes.get_ylabel()) == (None, "return (steps)")
    assert [text.get_text() for text in kept[2].legends[0].get_texts()] == ["an episode", "mean 3.0"]


def balancing(optimizee):
    """Return the genome of weights that push the way the pole leans and turns."""
    angle, turn = np.meshgrid(*(np.linspace(-1, 1, optimizee.body.cells[k]) for k in (2, 3)), indexing="ij")
    leans = np.concatenate([np.zeros(optimizee.body.cells[0] * optimizee.body.cells[1]), (angle + turn).ravel()])
    right = np.clip(1.0 + 2.0 * leans, 0.0, 6.0)
    left = np.clip(1.0 - 2.0 * leans, 0.0, 6.0)
    w = np.repeat(np.stack([left, right], axis=1), optimizee.body.motor, axis=1)
    return optimizee.space.encode({"sensor_motor": w})


def test_in_the_mode_weights_a_policy_known_to_balance_lives_long_and_its_mirror_image_falls():
    good = balancing(WEIGHTS)
    mirrored = WEIGHTS.space.decode(good)["sensor_motor"][:, ::-1]
    z = np.stack([good, WEIGHTS.space.encode({"sensor_motor": mirrored}), genomes(WEIGHTS, 1)[0]])
    evaluation = WEIGHTS.evaluate_batch(z, np.array([1, 1, 2]))
    assert evaluation.fitness[0] > 100
    assert evaluation.fitness[1] < 15
    assert evaluation.fitness[2] < 60
    np.testing.assert_array_equal(evaluation.metrics["drift"], 0.0)


def test_inherited_weights_critic_dopamine_and_scaling_work_together():
    learning = Learning(critic="improvement", rule="dopamine", homeostasis="scaling")
    life = Life(episodes=3, budget=600, pause=3, fresh=2)
    both = CartPole(body=SMALL, mode="both", learning=learning, life=life)
    evaluation = both.evaluate_batch(genomes(both, 2), np.arange(2))
    assert (evaluation.fitness > 5).all()
    assert (evaluation.metrics["drift"] > 0.001).all()
    assert (evaluation.metrics["fresh_return"] > 5).all()


@pytest.mark.parametrize("agent", [CartPole, Pendulum, Acrobot])
def test_the_genome_is_the_weights_the_rule_both_or_a_perceptrons(agent):
    rule = {"eta", "a_plus", "a_minus", "tau_plus", "tau_minus", "tau_e", "w_max", "reward", "punish", "noise"}
    td = {"horizon", "value_rate", "value_trace"}
    assert set(agent(mode="stdp_rl").space.parameters) == rule | td | {"w_start"}
    assert set(agent(mode="both").space.parameters) == rule | td | {"sensor_motor"}
    assert set(agent(mode="weights").space.parameters) == {"sensor_motor"}
    assert set(agent(mode="mlp").space.parameters) == {"w_hidden", "b_hidden", "w_out", "b_out"}
    other = agent(mode="stdp_rl", learning=Learning(rule="dopamine", homeostasis="scaling"))
    assert set(other.space.parameters) == rule | td | {"w_start", "tau_n", "target", "scaling"}
    task, body = other.make_task(), other.body
    learning = Learning(plastic=("hidden_motor",))
    hidden = agent(mode="weights", body=replace(body, hidden=7), learning=learning).space.parameters
    shapes = {"sensor_hidden": (body.sensors, 7), "hidden_motor": (7, task.actions * body.motor)}
    assert {name: p.shape for name, p in hidden.items()} == shapes


def test_controls_critic_and_hope_are_those_of_the_fields():
    learning = Learning(critic="improvement", reward="shuffled", homeostasis="scaling", hope=-3.0)
    study = Pendulum(mode="stdp_rl", learning=learning).make_study()
    assert study.setup.learning == learning
    assert learning.changing == learning.scaled == ("sensor_motor",)
    born, _ = newborn(study, jnp.full(study.space.size, 0.5), seed_words(np.array(1)))
    assert born.parameters.critic.hope == -3.0
    frozen = replace(learning, plasticity="frozen")
    assert frozen.changing == frozen.scaled == ()
    assert Learning().scaled == ()
    assert Acrobot().make_study().setup.learning.changing == ()
    assert {name: CartPole(task=name).make_task() for name in TASKS} == TASKS


def test_what_a_subclass_restricts_is_checked_as_what_it_inherits():
    @dataclass(frozen=True)
    class Careless(CartPole):
        mode: str = "weights"  # wider than Agent's
        task: Literal["standard"] = "standard"

    assert Careless().mode == "weights"
    with pytest.raises(ValueError, match="mode: expected one of 'weights', 'mlp', 'stdp_rl', 'both', got 'evolve'"):
        Careless(mode="evolve")
    with pytest.raises(ValueError, match="task: expected one of 'standard', got 'mirrored'"):
        Careless(task="mirrored")
    with pytest.raises(TypeError, match="make_task"):
        Agent(SMALL)
    assert {field.name for field in fields(Agent)} == {field.name for field in fields(Pendulum)}


@pytest.mark.parametrize(
    ("part", "fields", "text"),
    [
        (CartPole, {"mode": "evolve"}, "mode: expected one of 'weights', 'mlp', 'stdp_rl', 'both'"),
        (CartPole, {"mlp_hidden": 0}, "mlp_hidden: expected an integer >= 1, got 0"),
        (Life, {"share": 0.0}, "share: expected a number"),
        (Life, {"fresh": -1}, "fresh: expected an integer >= 0, got -1"),
        (Learning, {"hope": float("nan")}, "hope: expected finite numbers, got nan"),
        (Learning, {"rule": "stdp"}, "rule: expected one of 'r_stdp', 'dopamine', got 'stdp'"),
        (Learning, {"plastic": ()}, "plastic: expected at least one projection, got none; take plasticity: frozen"),
        (SMALL, {"motor": 0}, "motor: expected an integer >= 1, got 0"),
        (SMALL, {"inhibition": -1.0}, "inhibition: expected a number >= 0, got -1"),
        (SMALL, {"step_ms": 20.5}, "step_ms: expected a multiple of the resolution, 1 ms, got 20.5 ms"),
        (SMALL, {"delay": 0.0}, "delay: expected a number > 0, got 0"),
    ],
)
def test_wrong_fields_are_refused(part, fields, text):
    with pytest.raises(ValueError, match=text):
        replace(part, **fields) if isinstance(part, Body) else part(**fields)


@pytest.mark.parametrize(
    ("body", "learning", "life", "text"),
    [
        ({}, {}, {"budget": 100}, "life.budget: expected an integer >= 501, got 100; an episode has to fit in"),
        ({"cells": (3, 3)}, {}, {}, "body.cells: expected 4 numbers, one an observation"),
        ({"joint": ((0, 4),)}, {}, {}, "body.joint: expected groups of observations, numbered 0 to 3"),
        ({"joint": ((),)}, {}, {}, "body.joint: expected groups of observations, numbered 0 to 3"),
        ({"cells": (1, 3, 3, 3)}, {}, {}, r"body.cells\[0\]: expected an integer >= 2, got 1"),
        ({}, {"plastic": ("hidden_motor",)}, {}, "learning.plastic: expected one of 'sensor_motor'"),
    ],
)
def test_fields_that_do_not_suit_the_task_or_each_other_are_refused(body, learning, life, text):
    with pytest.raises(ValueError, match=text):
        CartPole(body=replace(SMALL, **body), learning=Learning(**learning), life=Life(**life))


class Reach(NamedTuple):
    """A task of one step that pays one."""

    actions: int = 2
    steps: int = 1
    low: tuple[float, ...] = (-1.0,)
    high: tuple[float, ...] = (1.0,)

    def reset(self, key):
        return jnp.zeros(())

    def observe(self, state):
        return state[None]

    def act(self, key, spikes):
        return signed(spikes)

    def step(self, state, action):
        return state, jnp.ones(()), jnp.zeros((), bool)

    def error(self, state):
        return jnp.abs(state)


class Generous(Reach):
    """The same with a hundred."""

    def step(self, state, action):
        return state, jnp.full((), 100.0), jnp.zeros((), bool)


@dataclass(frozen=True)
class OneStep(Agent):
    body: Body = Body(cells=(3,), joint=((0,),))
    generous: bool = False

    def make_task(self):
        return Generous() if self.generous else Reach()


def test_tasks_of_two_classes_with_the_same_numbers_are_two_tasks():
    assert Generous() == Reach()
    agents = [OneStep(mode="mlp", life=Life(episodes=1), generous=generous) for generous in (False, True)]
    z = np.zeros((1, agents[0].space.size))
    assert [agent.evaluate_batch(z, np.arange(1)).fitness[0] for agent in agents] == [1.0, 100.0]


@pytest.mark.parametrize("delay", [1e-8, 0.4, 1.5])
def test_a_delay_is_one_step_at_least_and_a_whole_number_of_them(delay):
    with pytest.raises(ValueError, match="delay: expected a multiple of the resolution, 1 ms"):
        Body(cells=(3,), joint=((0,),), delay=delay)


CART_POLE = {"class": "optimizees.cartpole:CartPole"}


def test_a_job_changes_single_fields_of_what_the_agent_has_by_default():
    settings = {"body": {"motor": 4}, "learning": {"rule": "dopamine"}, "life": {"budget": 900}}
    agent = build(CART_POLE | settings, "optimizee", Agent)
    assert agent.body == replace(CartPole.body, motor=4)
    assert (agent.life, agent.learning) == (Life(episodes=100, budget=900), Learning(rule="dopamine"))
    with pytest.raises(JobError, match=r"optimizee\.body\.cells: expected 4 numbers, one an observation"):
        build(CART_POLE | {"body": {"cells": [3, 3]}}, "optimizee", Agent)
    with pytest.raises(JobError, match=r"optimizee\.life\.episodes: expected an integer >= 1, got 0"):
        build(CART_POLE | {"life": {"episodes": 0}}, "optimizee", Agent)
    with pytest.raises(JobError, match=r"optimizee\.motor: unknown key"):
        build(CART_POLE | {"motor": 4}, "optimizee", Agent)
