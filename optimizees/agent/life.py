"""A life: one episode after another in a task, with the weights carried over and changed by reward-modulated STDP.

In each control step the place cells see the state, the network runs for S simulation steps, the motor spikes become an
action, the task goes on, and the critic's signal reaches the plastic synapses as the next control step begins. After
an episode come `pause` control steps without any input, in which its last signal acts; then the network is at rest
again and nothing but weights, the critic's values and slow averages is carried over.

`live` is one life, `live_all` many.

Legend: N episodes, A actions, M neurons of a motor population, S simulation steps of a control step, T control steps.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn import rstdp_window
from l2l_snn.snn.coding import poisson
from l2l_snn.snn.network import Network
from l2l_snn.snn.state import Record, State
from l2l_snn.validate import Count, CountFromZero, Within, check_fields
from optimizees.agent import critic
from optimizees.agent.body import Body, build_network, competition, place_cells
from optimizees.agent.learning import Learning, LearningParameters, plasticity_rules
from optimizees.agent.task import Task

BOX = 256  # signals that are under way where they are shuffled in time
SLOTS = 16  # lives side by side: more leave the cache, fewer don't fill the processor's registers


@dataclass(frozen=True)
class Life:
    """How long an agent lives, and which parts of its life are compared; known before the program runs."""

    episodes: Count = 10  # N; of the modes weights and mlp: separate ones, over which the return is averaged
    budget: Count = 20_000  # control steps at most, pauses included; what isn't lived by then isn't
    pause: Count = 1  # control steps between episodes
    share: Annotated[float, Within(0.0, 1.0, open_low=True)] = 0.2  # first and last part that are compared
    fresh: CountFromZero = 0  # F, episodes after the life with frozen weights: the metric fresh_return

    def __post_init__(self) -> None:
        check_fields(self)


class LifeSetup(NamedTuple):
    """All that is known of a life before the program runs; hashable."""

    task: Task
    body: Body
    life: Life
    learning: Learning
    record: bool = False  # keep what happened in every control step (memory: T = budget)


class Newborn(NamedTuple):
    """What a life begins with; the values may be traced, and have P leading where P lives begin."""

    parameters: LearningParameters
    weights: dict[str, Any]  # (n_pre, n_post) of each projection that `body.learned` names, mV
    noise: Any  # pA, standard deviation of the current that each motor population gets, anew in every control step
    key: jax.Array  # of all that is random; when episodes start where doesn't depend on what is learned


class Lived(NamedTuple):
    """What became of a life; of P lives, with P leading."""

    returns: jax.Array  # (N,) sum of rewards of each episode; nan where it was not lived to its end
    weights: dict[str, jax.Array]  # of all projections, at the end
    spikes: jax.Array  # (2,) mean spikes of a motor and of an inhibitory neuron
    fired: jax.Array  # (populations,) mean spikes of each population of `body.fan_out` in a control step
    steps: jax.Array  # () control steps that were acted in
    ticks: jax.Array  # () and with pauses
    record: Any  # ControlStep with T leading, or None


class ControlStep(NamedTuple):
    """One control step, for pictures and tests."""

    episode: jax.Array  # () -1 in a pause
    state: Any  # of the task, before the step
    action: jax.Array
    sensor: jax.Array  # (S, sensors) spikes
    motor: jax.Array  # (S, A M)
    signal: jax.Array  # () that the synapses heard in this step


class LifeState(NamedTuple):
    """A life under way."""

    tick: jax.Array
    episode: jax.Array
    t: jax.Array  # control steps of the episode so far
    rest: jax.Array  # control steps of the pause that are left
    state: Any
    place: jax.Array
    net: State
    traces: dict[str, rstdp_window.Eligibility]  # of projections that learn by r_stdp
    values: critic.Values
    scales: Any
    signal: jax.Array
    box: jax.Array
    total: jax.Array  # rewards of the episode so far
    returns: jax.Array
    spikes: jax.Array
    fired: jax.Array
    steps: jax.Array


def live(setup: LifeSetup, born: Newborn) -> Lived:
    """Live one life."""
    now = _begin_life(setup, born)
    if not setup.record:
        alive = partial(_is_alive, setup.life)
        return _summarize_life(jax.lax.while_loop(alive, lambda now: _control_step(setup, born, now)[0], now))

    def recorded(now: LifeState, _: None) -> tuple[LifeState, ControlStep]:
        later, step = _control_step(setup, born, now)
        alive = _is_alive(setup.life, now)
        later = jax.tree.map(lambda a, b: jnp.where(alive, a, b), later, now)
        return later, step._replace(episode=jnp.where(alive, step.episode, -1))

    last, record = jax.lax.scan(recorded, now, None, length=setup.life.budget)
    return _summarize_life(last)._replace(record=record)


def live_all(setup: LifeSetup, born: Newborn, slots: int = SLOTS) -> Lived:
    """Live P lives, `slots` of them side by side; where one ends, the next one begins.

    So P lives cost what they live, and not what the longest of them lives. A life doesn't depend on its neighbours, nor
    on the slot that it is lived in.
    """
    P = len(born.noise)
    slots = min(P, slots)
    begin = jax.vmap(partial(_begin_life, setup))

    def pick(index: jax.Array) -> Newborn:
        return jax.tree.map(lambda x: x[jnp.minimum(index, P - 1)], born)

    def go(carry: tuple) -> tuple:
        own, now, who, following, lived = carry
        now = jax.vmap(lambda born, now: _control_step(setup, born, now)[0])(own, now)
        ended = (who < P) & ~_is_alive(setup.life, now)
        return jax.lax.cond(ended.any(), refill, lambda *rest: rest[:-1], own, now, who, following, lived, ended)

    def refill(
        own: Newborn, now: LifeState, who: jax.Array, following: jax.Array, lived: Lived, ended: jax.Array
    ) -> tuple:
        rows = jnp.where(ended, who, P)  # what is not one of P rows is dropped
        lived = jax.tree.map(lambda all, x: all.at[rows].set(x, mode="drop"), lived, jax.vmap(_summarize_life)(now))
        new = jnp.where(ended, jnp.minimum(following + jnp.cumsum(ended) - 1, P), who)
        chosen = pick(new)

        def put(a: jax.Array, b: jax.Array) -> jax.Array:
            return jax.vmap(jnp.where)(ended, a, b)

        own, now = jax.tree.map(put, chosen, own), jax.tree.map(put, begin(chosen), now)
        return own, now, new, following + ended.sum(), lived

    who = jnp.arange(slots)
    own = pick(who)
    now = begin(own)
    lived = jax.tree.map(lambda x: jnp.zeros((P, *x.shape[1:]), x.dtype), jax.vmap(_summarize_life)(now))
    carry = own, now, who, jnp.asarray(slots), lived
    return jax.lax.while_loop(lambda carry: (carry[2] < P).any(), go, carry)[-1]


def _build_network(setup: LifeSetup, parameters: LearningParameters) -> Network:
    """Return the network; dopamine acts in every simulation step, rewards of r_stdp between control steps."""
    rules = plasticity_rules(setup.learning, parameters) if setup.learning.rule == "dopamine" else {}
    return build_network(setup.body, setup.task.actions, rules)


def _begin_life(setup: LifeSetup, born: Newborn) -> LifeState:
    task, body = setup.task, setup.body
    weights = {name: jnp.asarray(w, float) for name, w in (born.weights | competition(body, task.actions)).items()}
    state = task.reset(jax.random.fold_in(jax.random.split(born.key)[0], 0))
    zero = jnp.zeros((), int)
    return LifeState(
        tick=zero,
        episode=zero,
        t=zero,
        rest=zero,
        state=state,
        place=place_cells(body, task, task.observe(state)),
        net=_build_network(setup, born.parameters).init(weights),
        traces=_rest_traces(setup),
        values=critic.begin(born.parameters.critic, body.sensors),
        scales={name: born.parameters.scaling.init(weights[name].shape[1]) for name in setup.learning.scaled},
        signal=jnp.zeros(()),
        box=jnp.zeros(BOX if setup.learning.reward == "shuffled" else 0),
        total=jnp.zeros(()),
        returns=jnp.full(setup.life.episodes, jnp.nan),
        spikes=jnp.zeros(2),
        fired=jnp.zeros(len(body.fan_out(task.actions))),
        steps=zero,
    )


def _rest_traces(setup: LifeSetup) -> dict[str, rstdp_window.Eligibility]:
    """Return the traces of projections that learn by r_stdp, as an episode begins."""
    if setup.learning.rule != "r_stdp":
        return {}
    shapes, delay = setup.body.learned(setup.task.actions), round(setup.body.delay / setup.body.resolution)
    return {name: rstdp_window.rest(shapes[name], delay) for name in setup.learning.changing}


def _is_alive(life: Life, now: LifeState) -> jax.Array:
    return (now.episode < life.episodes) & (now.tick < life.budget)


def _summarize_life(now: LifeState) -> Lived:
    spikes, fired = (total / jnp.maximum(now.steps, 1) for total in (now.spikes, now.fired))
    return Lived(now.returns, now.net.weights, spikes, fired, now.steps, now.tick, None)


def _control_step(setup: LifeSetup, born: Newborn, now: LifeState) -> tuple[LifeState, ControlStep]:
    """Take a control step, or one of a pause, and begin the next episode where the pause is over."""
    net = _build_network(setup, born.parameters)
    starts, chance = jax.random.split(born.key)
    later, step = _act_once(setup, net, born, jax.random.fold_in(chance, now.tick), now)
    return _begin_next_episode(setup, net, starts, now, later), step


def _act_once(
    setup: LifeSetup, net: Network, born: Newborn, key: jax.Array, now: LifeState
) -> tuple[LifeState, ControlStep]:
    """Take one control step, or one of a pause: no input then, and the task stands still."""
    task, body, life = setup.task, setup.body, setup.life
    keys, awake = jax.random.split(key, 4), now.rest == 0
    rate = jnp.where(awake, body.rate, 0.0) * now.place
    sensor = poisson(keys[0], jnp.broadcast_to(rate, (body.substeps, body.sensors)), body.resolution)
    urge = jnp.where(awake, born.noise, 0.0) * jax.random.normal(keys[1], (task.actions,))
    later, seen = _run_network(setup, net, born.parameters, now, sensor, urge)
    counts = seen.counts["motor"]
    action = task.act(keys[2], counts.reshape(task.actions, body.motor).mean(axis=1))
    state, reward, failed = task.step(now.state, action)
    place = place_cells(body, task, task.observe(state))
    gain = task.error(now.state) - task.error(state)
    outcome = critic.Outcome(now.place, place, reward, gain, failed)
    signal, values = critic.judge(setup.learning.critic, born.parameters.critic, now.values, outcome)
    signal, box = jnp.where(awake, signal, 0.0), now.box
    if setup.learning.reward == "shuffled":
        slot = jax.random.randint(keys[3], (), 0, BOX)
        signal, box = jnp.where(awake, box[slot], 0.0), jnp.where(awake, box.at[slot].set(signal), box)
    t = now.t + awake
    ended = awake & (failed | (t >= task.steps))
    total = now.total + jnp.where(awake, reward, 0.0)
    spikes = jnp.stack([counts.mean(), seen.counts["inhibitory"].mean()])
    fired = jnp.stack([seen.counts[name].sum() for name in body.fan_out(task.actions)])
    later = later._replace(
        tick=now.tick + 1,
        t=t,
        rest=jnp.where(ended, life.pause, jnp.maximum(now.rest - 1, 0)),
        state=jax.tree.map(lambda a, b: jnp.where(awake, a, b), state, now.state),
        place=jnp.where(awake, place, now.place),
        values=jax.tree.map(lambda a, b: jnp.where(awake, a, b), values, now.values),
        signal=signal,
        box=box,
        total=total,
        returns=jnp.where(ended, now.returns.at[now.episode].set(total), now.returns),
        spikes=now.spikes + jnp.where(awake, spikes, 0.0),
        fired=now.fired + jnp.where(awake, fired, 0.0),
        steps=now.steps + awake,
    )
    episode = jnp.where(awake, now.episode, -1)
    spikes = (sensor, seen.spikes["motor"]) if setup.record else (sensor[:0], sensor[:0])
    return later, ControlStep(episode, now.state, action, *spikes, now.signal)


def _run_network(
    setup: LifeSetup, net: Network, parameters: LearningParameters, now: LifeState, sensor: jax.Array, urge: jax.Array
) -> tuple[LifeState, Record]:
    """Let the synapses hear the last signal and the network run for a control step; return what was recorded of it.

    Args:
        setup: of the life.
        net: the network.
        parameters: of its learning.
        now: the life before the step.
        sensor: (S, sensors) spikes.
        urge: (A,) current into each motor population, pA.
    """
    body, learning = setup.body, setup.learning
    rules, state, signals = plasticity_rules(learning, parameters), now.net, {}
    if learning.rule == "dopamine":
        heard = jnp.zeros(body.substeps).at[0].set(parameters.eta * now.signal)
        signals = dict.fromkeys(learning.changing, heard)
    for name, traces in now.traces.items():
        w = rstdp_window.hear(rules[name], traces, state.weights[name], now.signal)
        state = state._replace(weights=state.weights | {name: w})
    ends = {end for name in now.traces for end in name.split("_")} | ({"motor"} if setup.record else set())
    after, seen = net.rollout(
        state,
        spikes={"sensor": sensor},
        currents={"motor": jnp.repeat(urge, body.motor)},
        signals=signals,
        record=("counts", *(f"spikes.{end}" for end in sorted(ends))),
    )
    traces, scales = {}, {}
    for name, before in now.traces.items():
        pre, post = (seen.spikes[end] for end in name.split("_"))
        traces[name] = rstdp_window.collect(rules[name], before, pre, post, body.resolution)
    for name, before in now.scales.items():
        rule = replace(parameters.scaling, w_max=parameters.w_max)
        fired = seen.counts[name.split("_")[1]]
        scales[name], w = rule.step(before, after.weights[name], fired, body.step_ms)
        after = after._replace(weights=after.weights | {name: w})
    return now._replace(net=after, traces=traces, scales=scales), seen


def _begin_next_episode(
    setup: LifeSetup, net: Network, starts: jax.Array, now: LifeState, later: LifeState
) -> LifeState:
    """Begin the next episode where a pause is over."""
    task = setup.task
    over = (now.rest > 0) & (later.rest == 0)
    episode = later.episode + over
    state = task.reset(jax.random.fold_in(starts, episode))
    fresh = later._replace(
        episode=episode,
        t=jnp.zeros_like(later.t),
        state=state,
        place=place_cells(setup.body, task, task.observe(state)),
        net=net.init(later.net.weights),
        traces=_rest_traces(setup),
        values=critic.forget(later.values),
        total=jnp.zeros_like(later.total),
    )
    return jax.tree.map(lambda a, b: jnp.where(over, a, b), fresh, later)
