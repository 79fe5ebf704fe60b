"""A life: one episode after another in a task, with the weights carried over and changed by reward-modulated STDP.

In each control step the place cells see the state, the network runs for S simulation steps, the motor spikes become an
action, the task goes on, and the critic's signal reaches the plastic synapses as the next control step begins. After
an episode come `pause` control steps without any input, in which its last signal acts; then the network is at rest
again and nothing but weights, the critic's values and slow averages is carried over.

`live` is one life, `live_all` many.

Legend: N episodes, A actions, M neurons of a motor population, S simulation steps of a control step, T control steps.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn import rstdp_window as eligibility
from l2l_snn.snn.coding import poisson
from l2l_snn.snn.network import Network
from l2l_snn.snn.state import State
from optimizees.agent import critic as critics
from optimizees.agent.body import Body, Task, competition, network, place_cells
from optimizees.agent.learning import Learning, Plan, rules

BOX = 256  # signals that are under way where they are shuffled in time
SLOTS = 16  # lives side by side: more leave the cache, fewer don't fill the processor's registers


class Life(NamedTuple):
    """What became of a life; of P lives, with P leading."""

    returns: jax.Array  # (N,) sum of rewards of each episode; nan where it was not lived to its end
    weights: dict[str, jax.Array]  # of all projections, at the end
    spikes: jax.Array  # (2,) mean spikes of a motor and of an inhibitory neuron
    steps: jax.Array  # () control steps that were acted in
    ticks: jax.Array  # () and with pauses
    record: Any  # Moment with T leading, or None


class Moment(NamedTuple):
    """One control step, for pictures and tests."""

    episode: jax.Array  # () -1 in a pause
    state: Any  # of the task, before the step
    action: jax.Array
    sensor: jax.Array  # (S, sensors) spikes
    motor: jax.Array  # (S, A M)
    signal: jax.Array  # () that the synapses heard in this step


class _Now(NamedTuple):
    tick: jax.Array
    episode: jax.Array
    t: jax.Array  # control steps of the episode so far
    rest: jax.Array  # control steps of the pause that are left
    state: Any
    place: jax.Array
    net: State
    traces: dict[str, eligibility.Eligibility]  # of projections that learn by r_stdp
    values: critics.Values
    scales: Any
    signal: jax.Array
    box: jax.Array
    total: jax.Array  # rewards of the episode so far
    returns: jax.Array
    spikes: jax.Array
    steps: jax.Array


def _network(task: Task, body: Body, plan: Plan, learning: Learning) -> Network:
    """Return the network; dopamine acts in every simulation step, rewards of r_stdp between control steps."""
    return network(body, task.actions, rules(plan, learning) if plan.rule == "dopamine" else {})


class Newborn(NamedTuple):
    """What a life begins with; the values may be traced, and have P leading where P lives begin."""

    learning: Learning
    weights: dict[str, Any]  # (n_pre, n_post) of each projection that `body.learned` names, mV
    noise: Any  # pA, standard deviation of the current that each motor population gets, anew in every control step
    key: jax.Array  # of all that is random; when episodes start where doesn't depend on what is learned


def live(task: Task, body: Body, plan: Plan, born: Newborn) -> Life:
    """Live one life."""
    now = _begin(task, body, plan, born)
    if not plan.record:
        now = jax.lax.while_loop(partial(_on, plan), lambda now: _go(task, body, plan, born, now)[0], now)
        return _told(now, None)

    def recorded(now: _Now, _: None) -> tuple[_Now, Moment]:
        later, moment = _go(task, body, plan, born, now)
        alive = _on(plan, now)
        later = jax.tree.map(lambda a, b: jnp.where(alive, a, b), later, now)
        return later, moment._replace(episode=jnp.where(alive, moment.episode, -1))

    return _told(*jax.lax.scan(recorded, now, None, length=plan.budget))


def live_all(task: Task, body: Body, plan: Plan, born: Newborn, slots: int = SLOTS) -> Life:
    """Live P lives, `slots` of them side by side; where one ends, the next one begins.

    So P lives cost what they live, and not what the longest of them lives. A life doesn't depend on its neighbours, nor
    on the slot that it is lived in.
    """
    P = len(born.noise)
    slots = min(P, slots)
    begin = jax.vmap(partial(_begin, task, body, plan))

    def pick(index: jax.Array) -> Newborn:
        return jax.tree.map(lambda x: x[jnp.minimum(index, P - 1)], born)

    def go(carry: tuple) -> tuple:
        own, now, who, following, told = carry
        now = jax.vmap(lambda born, now: _go(task, body, plan, born, now)[0])(own, now)
        ended = (who < P) & ~_on(plan, now)
        return jax.lax.cond(ended.any(), refill, lambda *rest: rest[:-1], own, now, who, following, told, ended)

    def refill(own: Newborn, now: _Now, who: jax.Array, following: jax.Array, told: Life, ended: jax.Array) -> tuple:
        rows = jnp.where(ended, who, P)  # what is not one of P rows is dropped
        told = jax.tree.map(
            lambda all, x: all.at[rows].set(x, mode="drop"), told, jax.vmap(_told, (0, None))(now, None)
        )
        new = jnp.where(ended, jnp.minimum(following + jnp.cumsum(ended) - 1, P), who)
        chosen = pick(new)

        def put(a: jax.Array, b: jax.Array) -> jax.Array:
            return jax.vmap(jnp.where)(ended, a, b)

        return jax.tree.map(put, chosen, own), jax.tree.map(put, begin(chosen), now), new, following + ended.sum(), told

    who = jnp.arange(slots)
    own = pick(who)
    now = begin(own)
    told = jax.tree.map(lambda x: jnp.zeros((P, *x.shape[1:]), x.dtype), jax.vmap(_told, (0, None))(now, None))
    carry = own, now, who, jnp.asarray(slots), told
    return jax.lax.while_loop(lambda carry: (carry[2] < P).any(), go, carry)[-1]


def _begin(task: Task, body: Body, plan: Plan, born: Newborn) -> _Now:
    weights = {name: jnp.asarray(w, float) for name, w in (born.weights | competition(body, task.actions)).items()}
    state = task.reset(jax.random.fold_in(jax.random.split(born.key)[0], 0))
    scaled = plan.plastic if plan.scaling else ()
    zero = jnp.zeros((), int)
    return _Now(
        tick=zero,
        episode=zero,
        t=zero,
        rest=zero,
        state=state,
        place=place_cells(body, task, task.observe(state)),
        net=_network(task, body, plan, born.learning).init(weights),
        traces=_no_traces(task, body, plan),
        values=critics.begin(born.learning.critic, body.sensors),
        scales={name: born.learning.scaling.init(weights[name].shape[1]) for name in scaled},
        signal=jnp.zeros(()),
        box=jnp.zeros(BOX if plan.shuffled else 0),
        total=jnp.zeros(()),
        returns=jnp.full(plan.episodes, jnp.nan),
        spikes=jnp.zeros(2),
        steps=zero,
    )


def _no_traces(task: Task, body: Body, plan: Plan) -> dict[str, eligibility.Eligibility]:
    if plan.rule != "r_stdp":
        return {}
    shapes, delay = body.learned(task.actions), round(body.delay / body.resolution)
    return {name: eligibility.rest(shapes[name], delay) for name in plan.plastic}


def _on(plan: Plan, now: _Now) -> jax.Array:
    return (now.episode < plan.episodes) & (now.tick < plan.budget)


def _go(task: Task, body: Body, plan: Plan, born: Newborn, now: _Now) -> tuple[_Now, Moment]:
    """Take a control step, or one of a pause."""
    net = _network(task, body, plan, born.learning)
    starts, chance = jax.random.split(born.key)
    later, moment = _act(task, body, plan, net, born, jax.random.fold_in(chance, now.tick), now)
    return _turn(task, body, plan, net, starts, now, later), moment


def _told(now: _Now, record: Any) -> Life:
    return Life(now.returns, now.net.weights, now.spikes / jnp.maximum(now.steps, 1), now.steps, now.tick, record)


def _act(
    task: Task, body: Body, plan: Plan, net: Network, born: Newborn, key: jax.Array, now: _Now
) -> tuple[_Now, Moment]:
    """Take one control step, or one of a pause: no input then, and the task stands still."""
    keys, learning = jax.random.split(key, 4), born.learning
    awake = now.rest == 0
    S, A, M = body.substeps, task.actions, body.motor
    rate = jnp.where(awake, body.rate, 0.0) * now.place
    sensor = poisson(keys[0], jnp.broadcast_to(rate, (S, body.sensors)), body.resolution)
    urge = jnp.where(awake, born.noise, 0.0) * jax.random.normal(keys[1], (A,))
    learned, state, signals = rules(plan, learning), now.net, {}
    if plan.rule == "dopamine":
        heard = jnp.zeros(S).at[0].set(learning.eta * now.signal)
        signals = dict.fromkeys(plan.plastic, heard)
    for name, traces in now.traces.items():
        w = eligibility.hear(learned[name], traces, state.weights[name], now.signal)
        state = state._replace(weights=state.weights | {name: w})
    ends = {end for name in now.traces for end in name.split("_")} | ({"motor"} if plan.record else set())
    after, seen = net.rollout(
        state,
        spikes={"sensor": sensor},
        currents={"motor": jnp.repeat(urge, M)},
        signals=signals,
        record=("counts", *(f"spikes.{end}" for end in sorted(ends))),
    )
    traces = {}
    for name, before in now.traces.items():
        pre, post = (seen.spikes[end] for end in name.split("_"))
        traces[name] = eligibility.collect(learned[name], before, pre, post, body.resolution)
    counts = seen.counts["motor"]
    scales = {}
    for name, before in now.scales.items():
        rule = replace(learning.scaling, w_max=learning.w_max)
        fired = seen.counts[name.split("_")[1]]
        scales[name], w = rule.step(before, after.weights[name], fired, body.step_ms)
        after = after._replace(weights=after.weights | {name: w})
    action = task.act(keys[2], counts.reshape(A, M).mean(axis=1))
    state, reward, failed = task.step(now.state, action)
    place = place_cells(body, task, task.observe(state))
    gain = task.error(now.state) - task.error(state)
    outcome = critics.Outcome(now.place, place, reward, gain, failed)
    signal, values = critics.judge(plan.critic, learning.critic, now.values, outcome)
    signal = jnp.where(awake, signal, 0.0)
    box = now.box
    if plan.shuffled:
        drawn = jax.random.randint(keys[3], (), 0, BOX)
        signal, box = jnp.where(awake, box[drawn], 0.0), jnp.where(awake, box.at[drawn].set(signal), box)
    t = now.t + awake
    ended = awake & (failed | (t >= task.steps))
    total = now.total + jnp.where(awake, reward, 0.0)
    spikes = jnp.stack([counts.mean(), seen.counts["inhibitory"].mean()])
    later = now._replace(
        tick=now.tick + 1,
        t=t,
        rest=jnp.where(ended, plan.pause, jnp.maximum(now.rest - 1, 0)),
        state=jax.tree.map(lambda a, b: jnp.where(awake, a, b), state, now.state),
        place=jnp.where(awake, place, now.place),
        net=after,
        traces=traces,
        values=jax.tree.map(lambda a, b: jnp.where(awake, a, b), values, now.values),
        scales=scales,
        signal=signal,
        box=box,
        total=total,
        returns=jnp.where(ended, now.returns.at[now.episode].set(total), now.returns),
        spikes=now.spikes + jnp.where(awake, spikes, 0.0),
        steps=now.steps + awake,
    )
    moment = Moment(
        jnp.where(awake, now.episode, -1),
        now.state,
        action,
        sensor if plan.record else sensor[:0],
        seen.spikes["motor"] if plan.record else sensor[:0],
        now.signal,
    )
    return later, moment


def _turn(task: Task, body: Body, plan: Plan, net: Network, starts: jax.Array, now: _Now, later: _Now) -> _Now:
    """Begin the next episode where a pause is over."""
    over = (now.rest > 0) & (later.rest == 0)
    episode = later.episode + over
    state = task.reset(jax.random.fold_in(starts, episode))
    fresh = later._replace(
        episode=episode,
        t=jnp.zeros_like(later.t),
        state=state,
        place=place_cells(body, task, task.observe(state)),
        net=net.init(later.net.weights),
        traces=_no_traces(task, body, plan),
        values=critics.forget(later.values),
        total=jnp.zeros_like(later.total),
    )
    return jax.tree.map(lambda a, b: jnp.where(over, a, b), fresh, later)
