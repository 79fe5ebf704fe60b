"""The agent and its life: against sums in numpy over recorded spikes, and against NEST."""

from collections import Counter
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import nest
import numpy as np
import pytest

from l2l_snn.snn.plasticity import DopamineSTDP
from optimizees.agent.body import Body, build_network, competition, place_cells
from optimizees.agent.critic import Critic
from optimizees.agent.learning import Learning, LearningParameters, plasticity_rules
from optimizees.agent.life import Life, LifeSetup, Newborn, live, live_all
from optimizees.cartpole.task import CartPole

pytestmark = pytest.mark.usefixtures("compiled_soon")

BODY = Body((3, 3, 4, 4), ((0, 1), (2, 3)), step_ms=10.0)
PARAMETERS = LearningParameters(eta=0.8, tau_e=40.0, critic=Critic(reward=0.7, punish=1.2, horizon=20.0))
SETUP = LifeSetup(CartPole(), BODY, Life(episodes=40, budget=900), Learning(), record=True)
SHORT = LifeSetup(CartPole(), BODY, Life(episodes=6, budget=100), Learning())
nest.verbosity = nest.VerbosityLevel.ERROR


@cache
def program(setup):
    """Return the compiled life of such a setup: of parameters, weights, noise and key."""
    return jax.jit(lambda *born: live(setup, Newborn(*born)))


def lived(setup=SETUP, parameters=PARAMETERS, seed=1, noise=100.0):
    """Return a life and the weights that it began with."""
    generator = np.random.default_rng(seed)
    weights = {name: generator.uniform(1.0, 3.0, shape) for name, shape in BODY.learned(2).items()}
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, program(setup)(parameters, weights, noise, jax.random.key(seed))), weights


@pytest.fixture(scope="module")
def life():
    return lived()


def place_by_hand(body, task, seen):
    """Return the place code of observations (..., 4), group by group, by its formula."""
    codes = []
    for k, n in enumerate(body.cells):
        centers, spread = np.linspace(task.low[k], task.high[k], n, retstep=True)
        x = np.clip(seen[..., k], task.low[k], task.high[k])[..., None]
        codes.append(np.exp(-0.5 * ((x - centers) / (body.width * spread)) ** 2))
    groups = [np.einsum("...i,...j->...ij", codes[i], codes[j]).reshape(*seen.shape[:-1], -1) for i, j in body.joint]
    return np.concatenate([group / group.sum(axis=-1, keepdims=True) for group in groups], axis=-1)


def signals_by_hand(life, critic):
    """Return the TD error of each control step (T,) that was acted in, from the states that were passed through."""
    state, episode = life.record.state, life.record.episode
    place, value = place_by_hand(BODY, CartPole(), state), np.ones(BODY.sensors)
    found, trace, discount = np.zeros(len(state)), np.zeros(BODY.sensors), 1 - 1 / critic.horizon
    for t in np.flatnonzero(episode >= 0):
        trace = discount * critic.value_trace * (trace if t and episode[t - 1] == episode[t] else 0) + place[t]
        failed = abs(state[t + 1, 0]) > 2.4 or abs(state[t + 1, 2]) > 12 * np.pi / 180
        after = 0.0 if failed else value @ place[t + 1] / 2
        delta = (1 - discount) + discount * after - value @ place[t] / 2
        value = value + critic.value_rate * delta * trace
        found[t] = delta * (critic.reward if delta > 0 else critic.punish)
    return found


def test_the_signal_is_the_td_error_of_the_step_before(life):
    life, _ = life
    expected = signals_by_hand(life, PARAMETERS.critic)
    np.testing.assert_allclose(life.record.signal[1:], expected[:-1], rtol=1e-9, atol=1e-12)
    assert (expected < -0.2).sum() >= 4
    assert (expected > 1e-4).sum() > 5


def test_the_weights_follow_from_spikes_and_signals_by_reward_modulated_stdp(life):
    life, weights = life
    w, p, S = weights["sensor_motor"].copy(), PARAMETERS, BODY.substeps
    pre_trace = post_trace = eligibility = late = None
    for t in range(int(life.ticks)):
        if t == 0 or (life.record.episode[t] >= 0 and life.record.episode[t - 1] < 0):  # at rest after a pause
            pre_trace, post_trace, late = np.zeros(BODY.sensors), np.zeros(6), np.zeros(6)
            eligibility = np.zeros_like(w)
        w = np.clip(w + p.eta * life.record.signal[t] * eligibility, 0.0, p.w_max)
        for s in range(S):
            pre, post = life.record.sensor[t, s], late  # a spike is seen after the delay of one step
            late = life.record.motor[t, s]
            pre_trace, post_trace = pre_trace * np.exp(-1 / p.tau_plus), post_trace * np.exp(-1 / p.tau_minus)
            eligibility = eligibility * np.exp(-1 / p.tau_e)
            eligibility += p.a_plus * np.outer(pre_trace, post) - p.a_minus * np.outer(pre, post_trace)
            pre_trace, post_trace = pre_trace + pre, post_trace + post
    np.testing.assert_allclose(life.weights["sensor_motor"], w, rtol=0, atol=1e-9)
    assert np.abs(w - weights["sensor_motor"]).mean() > 0.1
    for name, fixed in competition(BODY, 2).items():
        np.testing.assert_array_equal(life.weights[name], fixed)


def test_returns_are_the_steps_lived_and_actions_those_of_the_population_with_more_spikes(life):
    life, _ = life
    episode, ended = life.record.episode, int(np.isfinite(life.returns).sum())
    assert ended > 10
    np.testing.assert_array_equal([np.sum(episode == i) for i in range(ended)], life.returns[:ended])
    assert life.steps == np.sum(episode >= 0)
    counts = life.record.motor.reshape(len(episode), BODY.substeps, 2, 3).sum(axis=(1, 3))
    decided = (episode >= 0) & (counts[:, 0] != counts[:, 1])
    np.testing.assert_array_equal(life.record.action[decided], counts[decided].argmax(axis=1))
    assert decided.sum() > 10
    pauses = np.flatnonzero(episode[: life.ticks] < 0)
    assert life.ticks == life.steps + len(pauses)
    assert ended - 1 <= len(pauses) <= ended  # one after each, where the budget has one left
    assert (life.record.sensor[pauses] == 0).all()


def test_spikes_are_counted_where_the_agent_acts_and_arrive_at_synapses_that_are_not_0(life):
    life, _ = life
    through = life.record.episode >= 0
    fired = dict(zip(BODY.fan_out(2), life.fired, strict=True))
    for name in ("sensor", "motor"):
        np.testing.assert_allclose(fired[name], getattr(life.record, name)[through].sum() / through.sum(), rtol=1e-12)
    np.testing.assert_allclose(fired["inhibitory"], 6 * life.spikes[1], rtol=1e-9)
    body = replace(BODY, hidden=5)
    weights = {name: np.ones(shape) for name, shape in body.learned(3).items()} | competition(body, 3)
    found = {name.split("_")[0]: (w != 0).sum(axis=1) for name, w in weights.items()}
    assert set(found) == set(body.fan_out(3))
    for name, n in body.fan_out(3).items():
        np.testing.assert_array_equal(found[name], n)


def test_recording_changes_nothing_and_a_spent_budget_leaves_episodes_unlived(life):
    short, _ = lived(SHORT)
    ended = int(np.isfinite(short.returns).sum())
    assert 2 <= ended < SHORT.life.episodes
    np.testing.assert_array_equal(short.returns[:ended], life[0].returns[:ended])
    assert np.isnan(short.returns[ended:]).all()
    assert life[0].returns[: ended + 1].sum() + ended >= SHORT.life.budget
    assert short.ticks == SHORT.life.budget


def test_shuffled_signals_are_real_ones_at_other_times():
    silent = PARAMETERS._replace(eta=0.0)  # so that both live the same
    real, _ = lived(SETUP, silent)
    shuffled, _ = lived(SETUP._replace(learning=Learning(reward="shuffled")), silent)
    np.testing.assert_array_equal(real.returns, shuffled.returns)
    given, heard = real.record.signal, shuffled.record.signal[shuffled.record.signal != 0]
    assert len(heard) > 300
    assert Counter(heard.round(9)) <= Counter(given.round(9))  # none arrives twice
    assert abs(np.corrcoef(given, shuffled.record.signal)[0, 1]) < 0.1


def test_the_improvement_critic_rewards_a_smaller_error_and_punishes_failure():
    life, _ = lived(SETUP._replace(learning=Learning(critic="improvement")))
    state, episode, task = life.record.state, life.record.episode, CartPole()
    error = np.sqrt(((state / np.array(task.high)) ** 2).sum(axis=1))
    for t in np.flatnonzero(episode[:-1] >= 0):
        gain = error[t] - error[t + 1] if episode[t + 1] == episode[t] else -1.0
        expected = gain * (PARAMETERS.critic.reward if gain > 0 else PARAMETERS.critic.punish)
        np.testing.assert_allclose(life.record.signal[t + 1], expected, rtol=1e-9, atol=1e-12)


def test_place_cells_are_gaussians_on_a_grid_and_each_group_sums_to_one():
    seen = np.random.default_rng(3).normal(size=(20, 4)) * [1.5, 2.0, 0.15, 3.0]
    with jax.enable_x64(True):
        found = np.asarray(jax.vmap(lambda x: place_cells(BODY, CartPole(), x))(jnp.asarray(seen)))
    np.testing.assert_allclose(found, place_by_hand(BODY, CartPole(), seen), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=1), 2.0, rtol=1e-12)


def test_the_population_with_more_input_silences_the_other():
    net = build_network(BODY, 2, {})
    drive = {"sensor_motor": np.repeat([[4.0, 2.5]], 3, axis=1).reshape(1, 6) * np.ones((BODY.sensors, 1))}
    spikes = np.random.default_rng(4).random((400, BODY.sensors)) < 0.03

    @jax.jit
    def counts(fixed):
        _, seen = net.rollout(net.init(drive | fixed), spikes={"sensor": spikes}, record=("counts",))
        return seen.counts["motor"].reshape(2, 3).sum(axis=1)

    alone, competing = (counts(competition(replace(BODY, inhibition=mv), 2)) for mv in (0.0, 30.0))
    assert alone[1] > 0.3 * alone[0]
    assert competing[1] < 0.1 * competing[0]


def test_a_hidden_layer_learns_on_both_sides_and_scaling_brings_its_neurons_to_their_target():
    body = replace(BODY, hidden=8)
    learning = Learning(plastic=("sensor_hidden", "hidden_motor"), homeostasis="scaling")
    setup = LifeSetup(CartPole(), body, Life(episodes=150, budget=3000), learning)
    generator = np.random.default_rng(8)
    weights = {name: generator.uniform(1.0, 3.0, shape) for name, shape in body.learned(2).items()}
    slow = replace(PARAMETERS.scaling, target=60.0, tau=200.0)

    @jax.jit
    def run(eta, beta):
        parameters = PARAMETERS._replace(eta=eta, w_max=20.0, scaling=replace(slow, beta=beta))
        return live(setup, Newborn(parameters, weights, 100.0, jax.random.key(8)))

    learned, off, on = run(0.8, 0.0), run(0.0, 0.0), run(0.0, 0.02)
    for name in learning.plastic:
        assert np.abs(learned.weights[name] - weights[name]).mean() > 1e-3
        np.testing.assert_allclose(off.weights[name], weights[name], rtol=1e-6)
    hertz = [float(life.spikes[0]) * 1000 / BODY.step_ms for life in (off, on)]  # of motor neurons
    assert abs(hertz[1] - 60.0) < 0.3 * abs(hertz[0] - 60.0)


def test_many_lives_are_those_that_are_lived_alone():
    eta = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    w = np.random.default_rng(6).uniform(1.0, 3.0, (5, BODY.sensors, 6))
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(3), 5)

        def born(eta, w, key):
            return Newborn(PARAMETERS._replace(eta=eta), {"sensor_motor": w}, 100.0 + 0.0 * eta, key)

        together = jax.jit(lambda *values: live_all(SHORT, jax.vmap(born)(*values), slots=2))
        found = together(eta, w, keys)
        for i in range(5):
            one = program(SHORT)(*born(float(eta[i]), w[i], keys[i]))
            for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(one), strict=True):
                np.testing.assert_allclose(np.asarray(x)[i], np.asarray(y), rtol=0, atol=1e-9)
    assert len(np.unique(np.asarray(found.ticks))) > 1


def test_the_plastic_projection_equals_nests_dopamine_synapse_over_an_episode():
    """Prescribed sensor spikes and dopamine; motor spikes are the network's own; every weight that NEST carries."""
    parameters = PARAMETERS._replace(tau_n=15.0, tau_minus=12.0, w_max=3.0, a_plus=0.04, a_minus=0.03)
    rule = plasticity_rules(Learning(rule="dopamine"), parameters)["sensor_motor"]
    assert isinstance(rule, DopamineSTDP)
    rule = replace(rule, b=0.004)
    generator, steps = np.random.default_rng(5), 40 * BODY.substeps
    sensor = (generator.random((steps, BODY.sensors)) < 0.06).astype(float)
    sensor[-2 * BODY.substeps :] = 0
    reward = np.zeros(steps)
    reward[BODY.substeps :: BODY.substeps] = generator.integers(0, 3, 39)  # in the first step of a control step
    w = generator.uniform(1.0, 2.5, (BODY.sensors, 6))
    with jax.enable_x64(True):
        net = build_network(BODY, 2, {"sensor_motor": rule})
        state = net.init({"sensor_motor": w, **competition(BODY, 2)})
        _, seen = net.rollout(
            state, spikes={"sensor": sensor}, signals={"sensor_motor": reward}, record=("spikes", "weights")
        )
    motor, weights = np.asarray(seen.spikes["motor"]), np.asarray(seen.weights["sensor_motor"])

    nest.ResetKernel()
    nest.resolution = BODY.resolution
    trains = [(np.flatnonzero(row) + 1) * 1.0 for row in (*sensor.T, *motor.T)]
    trains += [np.flatnonzero(row) * 1.0 for row in (reward > 0, reward > 1)]  # sent a step before it arrives
    pre, post, dopamine = (nest.Create("parrot_neuron", n) for n in (BODY.sensors, 6, 2))
    generators = nest.Create("spike_generator", len(trains), [{"spike_times": 1.0 + t} for t in trains])
    parrots = [*pre, *post, *dopamine]
    for source, parrot in zip(generators, parrots, strict=True):
        nest.Connect(source, parrot, syn_spec={"delay": 1.0})
    post.set({"tau_minus": parameters.tau_minus})
    volume = nest.Create("volume_transmitter", params={"deliver_interval": 1})
    nest.Connect(dopamine, volume, syn_spec={"delay": 1.0})
    recorder = nest.Create("weight_recorder")
    params = {
        "A_plus": 0.04,
        "A_minus": 0.03,
        "tau_plus": parameters.tau_plus,
        "tau_c": parameters.tau_e,
        "tau_n": 15.0,
    }
    params |= {"b": 0.004, "Wmin": 0.0, "Wmax": 3.0, "weight_recorder": recorder, "volume_transmitter": volume}
    nest.CopyModel("stdp_dopamine_synapse", "learning_synapse", params)
    synapse = {"synapse_model": "learning_synapse", "weight": w.T, "delay": BODY.delay, "receptor_type": 1}
    nest.Connect(pre, post, syn_spec=synapse)
    nest.Simulate(steps + 5.0)
    events = recorder.events
    at = np.rint(events["times"]).astype(int) - 3  # generator and parrot: two steps late, and step k ends at k + 1
    found = weights[
        at, np.asarray(events["senders"]) - pre[0].global_id, np.asarray(events["targets"]) - post[0].global_id
    ]
    np.testing.assert_allclose(found, events["weights"], rtol=0, atol=1e-9)
    assert len(at) == sensor.sum() * 6
    assert motor.sum() > 30
    assert np.abs(weights[-1] - w).mean() > 0.1
