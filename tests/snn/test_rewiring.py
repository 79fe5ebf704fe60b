"""DEEP R: the numbers of connections and the signs never change, and each update is the published algorithm's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from l2l_snn.snn.rewiring import deep_r, draw_signs, sparse_weights

pytestmark = pytest.mark.usefixtures("compiled_soon")

N_PRE, N_POST = 20, 15


def start(connectivity: float = 0.3, seed: int = 0):
    keys = jax.random.split(jax.random.key(seed), 4)
    signs = {"in": draw_signs(keys[0], N_PRE, N_POST), "rec": draw_signs(keys[1], N_POST, N_POST, loops=False)}
    weights = {"in": sparse_weights(keys[2], signs["in"], connectivity=connectivity, scale=0.5)}
    weights["rec"] = sparse_weights(keys[3], signs["rec"], connectivity=0.1, scale=0.5)
    return signs, weights | {"out": jnp.ones((N_POST, 2))}


def gradients(generator, weights):
    return {name: jnp.asarray(generator.normal(size=w.shape), jnp.float32) for name, w in weights.items()}


def advance(rule, weights, memory, generator, updates: int):
    step = jax.jit(rule.update)
    for _ in range(updates):
        change, memory = step(gradients(generator, weights), memory, weights)
        weights = optax.apply_updates(weights, change)
    return weights, memory


@pytest.mark.parametrize("temperature", [0.0, 1e-3])
def test_the_number_of_connections_never_changes_and_signs_never_flip(temperature):
    signs, weights = start()
    rule = deep_r(optax.adam(0.05), signs, learning_rate=0.05, l1=0.1, temperature=temperature)
    memory, step, generator = rule.init(weights), jax.jit(rule.update), np.random.default_rng(1)
    amount = {"in": round(0.3 * N_PRE * N_POST), "rec": round(0.1 * N_POST**2)}
    first, changed, ever = memory.active, 0, {name: np.asarray(active) for name, active in memory.active.items()}
    for _ in range(60):
        change, memory = step(gradients(generator, weights), memory, weights)
        weights = optax.apply_updates(weights, change)
        for name, n in amount.items():
            w, s, active = np.asarray(weights[name]), np.asarray(signs[name]), np.asarray(memory.active[name])
            assert active.sum() == n
            np.testing.assert_array_equal(w != 0, active)  # so that `init` finds the same connections
            assert (w * s >= 0).all()
            assert not active[s == 0].any()
            assert (np.asarray(memory.inner[0].mu[name])[~ever[name]] == 0).all()  # the dormant pass no gradient
            ever[name] = ever[name] | active
            changed += int((active & ~first[name]).sum())
    assert changed > 100, "nothing was rewired"
    assert np.diag(memory.active["rec"]).sum() == 0


def test_a_connection_that_is_lost_and_drawn_again_at_once_stays_one():
    signs, weights = {"w": jnp.ones((1, 4))}, {"w": jnp.array([[0.5, 0.3, 0.0, 0.0]])}
    rule, generator, again = deep_r(optax.sgd(1.0), signs, learning_rate=1.0), np.random.default_rng(0), 0
    memory, step = rule.init(weights), jax.jit(rule.update)
    for _ in range(60):
        before, (change, memory) = weights["w"], step(gradients(generator, weights), memory, weights)
        weights = optax.apply_updates(weights, change)
        assert int((weights["w"] != 0).sum()) == 2
        np.testing.assert_array_equal(rule.init(weights).active["w"], memory.active["w"])
        again += int(((before > 1e-3) & (weights["w"] > 0) & (weights["w"] < 1e-6)).sum())
    assert again > 1


def test_signs_and_weights_start_as_asked():
    signs = draw_signs(jax.random.key(1), 40, 30)
    assert int((signs[:, 0] > 0).sum()) == 30
    assert bool((signs == signs[:, :1]).all())
    weights = sparse_weights(jax.random.key(2), signs, connectivity=0.12, scale=2.0)
    assert int((weights != 0).sum()) == round(0.12 * 1200)
    assert bool((weights * signs >= 0).all())
    assert float(jnp.sqrt((weights[weights != 0] ** 2).mean())) == pytest.approx(2.0 / np.sqrt(0.12 * 40), rel=0.2)
    many = jax.jit(jax.vmap(partial(sparse_weights, signs=np.asarray(signs), connectivity=0.12)))
    where = (many(jax.random.split(jax.random.key(3), 200)) != 0).sum(axis=0)
    assert 8 < where.min() <= where.max() < 50  # 24 +- 4.6 each


def algorithm_1(theta, s, gradient, eta, l1, temperature, noise, pick):
    """Bellec et al. 2018, algorithm 1, as a loop over connections; `pick` chooses among the dormant ones."""
    theta, active = theta.copy(), theta >= 0
    K = active.sum()
    for k in np.ndindex(theta.shape):
        if active[k]:
            theta[k] += -eta * s[k] * gradient[k] - eta * l1 + np.sqrt(2 * eta * temperature) * noise[k]
            if theta[k] < 0:
                active[k] = False
    chosen = pick(active, K - active.sum())
    for k in chosen:
        theta[k], active[k] = 0.0, True
    theta[~active] = -1.0
    return theta, active


@pytest.mark.parametrize(("temperature", "l1", "eta"), [(0.0, 0.01, 0.1), (0.0, 0.0, 0.05), (0.02, 0.1, 0.1)])
def test_each_update_is_the_published_algorithm_written_as_a_loop(temperature, l1, eta):
    """The random draws alone are taken from the run: the noise it added and which dormant connections it woke."""
    with jax.enable_x64(True):
        signs, weights = start()
        s, weights = np.asarray(signs["in"], float), {"in": jnp.asarray(weights["in"], float)}
        rule = deep_r(optax.sgd(eta), {"in": s}, learning_rate=eta, l1=l1, temperature=temperature)
        memory, generator, woken, noises = rule.init(weights), np.random.default_rng(3), 0, []
        step = jax.jit(rule.update)
        for _ in range(25):
            gradient = generator.normal(size=s.shape)
            change, after = step({"in": jnp.asarray(gradient)}, memory, weights)
            new = optax.apply_updates(weights, change)["in"]
            before, now = np.asarray(memory.active["in"]), np.asarray(after.active["in"])
            drift = np.asarray(weights["in"]) * s - eta * s * gradient - eta * l1
            fresh = now & (np.abs(new) < 1e-9)  # START, or what is left of it where one was lost and woken at once
            noise = np.zeros(s.shape)
            if temperature:  # of a connection that is lost, any noise that loses it will do
                stayed = before & now & ~fresh
                noise = np.where(stayed, (np.asarray(new) * s - drift) / np.sqrt(2 * eta * temperature), -1e3)
                noises.append(noise[stayed])
            theta = np.where(before, np.asarray(weights["in"]) * s, -1.0)

            def pick(active, missing, fresh=fresh):
                assert fresh.sum() == missing
                assert not (fresh & active).any()
                return [tuple(k) for k in np.argwhere(fresh)]

            expected, active = algorithm_1(theta, s, gradient, eta, l1, temperature, noise, pick)
            np.testing.assert_array_equal(now, active)
            np.testing.assert_allclose(new, np.where(active, s * expected, 0.0), atol=1e-9)
            woken += int(fresh.sum())
            weights, memory = {"in": new}, after
        assert woken > 20
        if temperature:  # those that stay have more than half of a standard normal's spread
            assert 0.8 < np.concatenate(noises).std() < 1.1


def test_dormant_connections_are_woken_with_equal_probability():
    signs = {"w": np.ones((6, 5))}
    weights = {"w": jnp.zeros((6, 5)).at[0, 0].set(1e-3)}
    rule = deep_r(optax.sgd(1.0), signs, learning_rate=1.0)
    gradient = {"w": jnp.ones((6, 5))}

    @jax.vmap
    def wake(words):
        memory = rule.init(weights)._replace(words=words)
        return rule.update(gradient, memory, weights)[1].active["w"]

    woken = wake(jax.random.key_data(jax.random.split(jax.random.key(1), 6000))).sum(axis=0)
    assert int(woken.sum()) == 6000
    assert 140 < int(woken.min()) <= int(woken.max()) < 260  # 200 +- 14; the one that was lost may come back


def test_without_learning_rate_nothing_moves_and_without_signs_it_is_the_wrapped_rule():
    signs, weights = start()
    still, memory = advance(
        deep_r(optax.sgd(0.0), signs, learning_rate=0.0, l1=0.5, temperature=3.0),
        weights,
        deep_r(optax.sgd(0.0), signs, learning_rate=0.0).init(weights),
        np.random.default_rng(1),
        5,
    )
    jax.tree.map(np.testing.assert_array_equal, still, weights)
    assert int(memory.count) == 5
    rule, plain = deep_r(optax.adam(0.1), {}, learning_rate=0.1, l1=1.0), optax.adam(0.1)
    ours, _ = advance(rule, weights, rule.init(weights), np.random.default_rng(1), 5)
    theirs, _ = advance(plain, weights, plain.init(weights), np.random.default_rng(1), 5)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_run_resumed_from_its_packed_state_gives_the_same_bytes():
    signs, weights = start()
    schedule = optax.exponential_decay(0.05, 10, 0.8)
    rule = deep_r(optax.adam(schedule), signs, learning_rate=schedule, l1=0.05, temperature=1e-4, seed=7)
    generator = np.random.default_rng(1)
    half, memory = advance(rule, weights, rule.init(weights), generator, 10)
    whole, last = advance(rule, half, memory, generator, 10)
    generator = np.random.default_rng(1)
    half, memory = advance(rule, weights, rule.init(weights), generator, 10)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(memory))
    leaves, structure = jax.tree.flatten(memory)
    stored = [(np.asarray(leaf).tobytes(), leaf.dtype, leaf.shape) for leaf in leaves]
    again = structure.unflatten([jnp.asarray(np.frombuffer(b, d).reshape(shape)) for b, d, shape in stored])
    resumed, end = advance(rule, half, again, generator, 10)
    jax.tree.map(np.testing.assert_array_equal, (resumed, end), (whole, last))


def test_at_a_fifth_of_the_connections_the_error_comes_within_a_tenth_of_all():
    """Two layers of sigmoid units learn a noisy function of 8 of 30 inputs; errors on inputs not seen in training."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(1200, 30)).astype(np.float32)
    y = np.tanh(x[:, :4].sum(1) / 2) - np.tanh(x[:, 4:8].sum(1) / 2) + 0.3 * generator.normal(size=1200)
    train, test = (x[:800], jnp.asarray(y[:800])), (x[800:], jnp.asarray(y[800:]))

    def loss(weights, data):
        return jnp.mean((jax.nn.sigmoid(data[0] @ weights["a"]) @ weights["b"] - data[1][:, None]) ** 2)

    def trained(rule, weights):
        def one(carry, _):
            weights, memory = carry
            change, memory = rule.update(jax.grad(loss)(weights, train), memory, weights)
            return (optax.apply_updates(weights, change), memory), None

        run = jax.jit(lambda weights: jax.lax.scan(one, (weights, rule.init(weights)), None, length=400)[0][0])
        return run(weights)

    keys = jax.random.split(jax.random.key(1), 4)
    shapes = {"a": (30, 20), "b": (20, 1)}
    dense = {name: jax.random.normal(k, s) / np.sqrt(s[0]) for (name, s), k in zip(shapes.items(), keys, strict=False)}
    error = float(loss(trained(optax.adam(0.01), dense), test))
    signs = {"a": jnp.sign(jax.random.normal(keys[2], (30, 20)))}  # one a connection, as in the paper
    weights = {"a": sparse_weights(keys[3], signs["a"], connectivity=0.2), "b": dense["b"]}
    sparse = trained(deep_r(optax.adam(0.01), signs, learning_rate=0.01, l1=0.01), weights)
    assert int((sparse["a"] != 0).sum()) <= 120
    assert float(loss(sparse, test)) < 1.1 * error
    plain, mask = optax.adam(0.01), weights["a"] != 0

    def frozen(gradient, memory, weights):
        return plain.update(gradient | {"a": gradient["a"] * mask}, memory, weights)

    fixed = trained(optax.GradientTransformation(plain.init, frozen), weights)
    assert float(loss(sparse, test)) < float(loss(fixed, test)), "rewiring should beat the connections drawn at first"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (partial(draw_signs, jax.random.key(0), 0, 3), r"draw_signs.n_pre: expected an integer >= 1, got 0"),
        (
            partial(draw_signs, jax.random.key(0), 3, 3, excitatory=1.5),
            r"draw_signs.excitatory: .* in \[0, 1\], got",
        ),
        (partial(sparse_weights, jax.random.key(0), np.eye(3), connectivity=0.5), r"no more connections than signs al"),
        (partial(sparse_weights, jax.random.key(0), np.eye(3), connectivity=0.0), r"connectivity: .* in \(0, 1\], got"),
        (partial(deep_r, optax.sgd(1.0), {"w": np.ones(3)}, learning_rate=1.0), r"deep_r.signs.w: .* of -1, 0 and 1"),
        (partial(deep_r, optax.sgd(1.0), {"w": np.full((2, 2), 0.5)}, learning_rate=1.0), r"signs.w: .* -1, 0 and 1"),
        (partial(deep_r, optax.sgd(1.0), {}, learning_rate=1.0, l1=-1.0), r"deep_r.l1: expected a number >= 0, got -1"),
        (partial(deep_r, optax.sgd(1.0), {}, learning_rate=-1.0), r"deep_r.learning_rate: expected a number >= 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"v": np.ones((2, 2))}, r"deep_r.signs: expected names of weights, got 'w'; did you mean|known are v"),
        ({"w": np.ones((2, 3))}, r"weights.w: expected the signs' shape \(2, 2\), got shape \(2, 3\)"),
        (
            {"w": -np.ones((2, 2))},
            r"weights.w: expected weights with the signs given, got others; take `spa",
        ),
    ],
)
def test_weights_that_do_not_fit_the_signs_are_refused(weights, text):
    rule = deep_r(optax.sgd(1.0), {"w": np.ones((2, 2))}, learning_rate=1.0)
    with pytest.raises(ValueError, match=text):
        rule.init({name: jnp.asarray(w) for name, w in weights.items()})
    with pytest.raises(ValueError, match=r"deep_r.update: expected the weights as third argument, got None"):
        rule.update({}, None)


def test_shares_deal_new_connections_out_by_size_and_probability_as_far_as_there_are_places():
    """All of "in" is lost in each update, and dealt out 1 : 3 by shares of sizes 1 : 2; then there is no more room."""
    signs = {"in": np.ones((20, 10)), "rec": np.ones((20, 20))}
    weights = {name: sparse_weights(jax.random.key(1), s, connectivity=0.3) for name, s in signs.items()}
    rule = deep_r(optax.sgd(1.0), signs, learning_rate=1.0, shared={"in": 0.2, "rec": 0.3})
    start, step, got = rule.init(weights), jax.jit(rule.update), []
    push = {"in": jnp.full((20, 10), 9.0), "rec": jnp.zeros((20, 20))}
    for words in jax.random.split(jax.random.key(2), 40):
        _, after = step(push, start._replace(words=jax.random.key_data(words)), weights)
        got.append(int(after.active["in"].sum()))
        assert got[-1] + int(after.active["rec"].sum()) == 60 + 120
    assert np.mean(got) == pytest.approx(60 / 4, abs=4 * np.sqrt(60 * 3 / 16 / 40))
    full = weights | {"rec": sparse_weights(jax.random.key(1), signs["rec"], connectivity=0.99)}
    _, after = step(push, rule.init(full), full)
    assert int(after.active["rec"].sum()) == 400
    assert int(after.active["in"].sum()) == 56


def test_moments_of_dormant_connections_follow_their_gradients_where_they_are_kept():
    signs = {"w": np.ones((4, 4))}
    weights = {"w": sparse_weights(jax.random.key(1), signs["w"], connectivity=0.5)}
    dormant = np.asarray(weights["w"]) == 0
    for kept in (False, True):
        rule = deep_r(optax.adam(0.1), signs, learning_rate=0.1, dormant_gradients=kept)
        step, memory = rule.update({"w": jnp.full((4, 4), -1.0)}, rule.init(weights), weights)
        assert (np.asarray(memory.inner[0].mu["w"])[dormant] != 0).all() == kept
        assert (np.asarray(step["w"])[dormant] == 0).all()


def test_shared_connections_move_from_one_projection_to_another_and_none_is_lost():
    """Two projections, the gradient pushes all weights of one towards 0: the other gets its connections."""
    signs, weights = start()
    rule = deep_r(optax.sgd(0.05), signs, learning_rate=0.05, shared=True)
    memory, step = rule.init(weights), jax.jit(rule.update)
    before = {name: int(active.sum()) for name, active in memory.active.items()}
    slopes = {"in": jnp.asarray(signs["in"], jnp.float32), "rec": -jnp.asarray(signs["rec"], jnp.float32)}
    for _ in range(40):
        change, memory = step(slopes | {"out": jnp.zeros((N_POST, 2))}, memory, weights)
        weights = optax.apply_updates(weights, change)
        now = {name: int(active.sum()) for name, active in memory.active.items()}
        assert sum(now.values()) == sum(before.values())
    assert now["in"] < before["in"] - 10
    assert now["rec"] > before["rec"] + 10
    places = {name: int((s != 0).sum()) for name, s in signs.items()}
    assert not np.asarray(memory.active["rec"])[np.eye(N_POST, dtype=bool)].any()
    assert all(now[name] <= places[name] for name in now)
