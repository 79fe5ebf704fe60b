"""Encoders and decoders equal numpy, scipy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.special

from l2l_snn.snn.coding import (
    bernoulli_spikes,
    bin_index,
    bins,
    even_spikes,
    latency,
    leaky_readout,
    most_spikes,
    place_centers,
    place_code,
    poisson,
    sample_softmax,
    signed_population,
    softmax_rates,
    threshold_crossings,
)

POSITIONS, VELOCITIES = (-1.2, 0.6), (-0.07, 0.07)  # of Mountain Car
pytestmark = pytest.mark.usefixtures("compiled_soon")

KEY = jax.random.key(7)
DRAWS = 100_000


def near_edges(low, high, n, dtype):
    """Return every edge in `dtype` and its neighbours, values between, and values outside."""
    edges = np.linspace(low, high, n + 1).astype(dtype)
    inf = np.array(np.inf, dtype)
    inside = np.random.default_rng(1).uniform(low - 0.1, high + 0.1, 20_000).astype(dtype)
    x = np.concatenate([edges, np.nextafter(edges, inf), np.nextafter(edges, -inf), inside, [-inf, inf]])
    tiny = np.finfo(dtype).tiny  # what is smaller, next to an edge at 0, is 0 to XLA
    return np.where((x != 0) & (abs(x) < tiny), np.copysign(tiny, x), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 30, 7])
@pytest.mark.parametrize("ends", [POSITIONS, VELOCITIES], ids=["position", "velocity"])
def test_bins_are_those_of_numpy_on_every_edge(dtype, n, ends):
    """In Mountain Car a bin off is another spike train: single precision may not differ from double-precision edges."""
    x = near_edges(*ends, n, dtype)
    expected = (np.digitize(x, np.linspace(*ends, n + 1)) - 1).clip(0, n - 1)
    with jax.enable_x64(dtype == np.float64):
        for run in (bin_index, jax.jit(bin_index, static_argnums=(1, 2, 3))):
            np.testing.assert_array_equal(run(jnp.asarray(x), *ends, n), expected)
        codes = bins(jnp.asarray(x), *ends, n)
        assert codes.dtype == dtype
        np.testing.assert_array_equal(codes, np.eye(n)[expected])


def test_bins_take_one_range_for_each_quantity():
    x = jnp.array([[-1.2, 0.0], [0.1, 0.069], [0.59, -0.07]])
    low, high = zip(POSITIONS, VELOCITIES, strict=True)
    together = bins(x, low, high, 30)
    assert together.shape == (3, 2, 30)
    np.testing.assert_array_equal(together[:, 0], bins(x[:, 0], *POSITIONS, 30))
    np.testing.assert_array_equal(together[:, 1], bins(x[:, 1], *VELOCITIES, 30))


def test_nan_drives_no_neuron():
    """Mountain Car's episodes that are over are nan."""
    assert bin_index(jnp.nan, 0.0, 1.0, 4) == -1
    np.testing.assert_array_equal(bins(jnp.array([jnp.nan, 0.9]), 0.0, 1.0, 4), [[0, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(latency(jnp.array([jnp.nan, 1.0]), 2), [[0, 1], [0, 0]])


def test_place_cells_stand_at_equal_distances_from_low_to_high():
    with jax.enable_x64(True):
        np.testing.assert_allclose(place_centers(-0.3, 1.7, 50), np.linspace(-0.3, 1.7, 50), rtol=1e-14)
        found = place_centers(jnp.array([-0.3, 2.0]), jnp.array([1.7, 2.5]), 4)
        np.testing.assert_allclose(found, [np.linspace(-0.3, 1.7, 4), np.linspace(2, 2.5, 4)], rtol=1e-14)
        assert found[0, 0] == -0.3
        assert found[1, -1] == 2.5


def test_a_place_code_is_the_gaussian_of_the_source():
    """12 quantities of 50 cells, as on Half-Cheetah; written here cell by cell."""
    rng = np.random.default_rng(3)
    low, high = rng.uniform(-3, -1, 12), rng.uniform(1, 3, 12)
    x = rng.uniform(-4, 4, (5, 12))
    expected = np.empty((5, 12, 50))
    for b in range(5):
        for xi in range(12):
            seen = min(max(x[b, xi], low[xi]), high[xi])
            for m in range(50):
                center = low[xi] + (high[xi] - low[xi]) * m / 49
                expected[b, xi, m] = max(0.05, min(np.exp(-15 * (center - seen) ** 2), 1))
    with jax.enable_x64(True):
        np.testing.assert_allclose(place_code(jnp.array(x), low, high, 50), expected, rtol=1e-12)
    found = place_code(jnp.array(x, jnp.float32), low, high, 50)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_a_place_code_peaks_at_one_in_the_cell_of_the_value_and_never_falls_below_the_floor():
    for m, center in enumerate(np.linspace(-1, 1, 9)):
        code = np.asarray(place_code(jnp.array(center), -1.0, 1.0, 9, floor=0.02))
        assert code.argmax() == m
        np.testing.assert_allclose(code[m], 1.0, rtol=1e-6)
        assert code.min() == np.float32(0.02)
    np.testing.assert_array_equal(place_code(7.0, -1.0, 1.0, 9), place_code(1.0, -1.0, 1.0, 9))


def test_a_value_is_decoded_from_its_place_code():
    """By the mean preferred value weighted by activity, within the range; its gradient follows the value."""
    with jax.enable_x64(True):
        centers = place_centers(-2.0, 2.0, 50)

        def decoded(x):
            code = place_code(x, -2.0, 2.0, 50, floor=0.0)
            return (code * centers).sum() / code.sum()

        for x in (-0.83, 0.0, 0.5, 0.911):
            np.testing.assert_allclose(decoded(x), x, atol=1e-6)
            np.testing.assert_allclose(jax.grad(decoded)(x), 1.0, atol=1e-4)


def test_spikes_of_a_place_code_have_its_probabilities():
    code = place_code(jnp.array(0.3), -1.0, 1.0, 8)
    spikes = np.asarray(bernoulli_spikes(KEY, jnp.broadcast_to(code, (DRAWS, 8))))
    assert set(np.unique(spikes)) == {0.0, 1.0}
    error = np.sqrt(np.asarray(code) * (1 - np.asarray(code)) / DRAWS)
    assert (abs(spikes.mean(axis=0) - code) <= 4 * error + 1e-6).all()


def test_even_spikes_are_as_far_apart_as_their_rate_says_and_begin_anywhere():
    spikes = np.asarray(even_spikes(KEY, jnp.full(2000, 0.3), 40))  # (T, trains)
    times = [np.flatnonzero(train) for train in spikes.T]
    assert {gap for train in times for gap in np.diff(train)} == {3, 4}
    assert {len(train) for train in times} == {12}
    np.testing.assert_allclose(spikes.mean(axis=1), 0.3, atol=4 * np.sqrt(0.3 * 0.7 / 2000))


@pytest.mark.parametrize(("rate", "dt"), [(20.0, 1.0), (200.0, 0.1), (500.0, 1.0), (5000.0, 1.0), (40.0, 5.0)])
def test_poisson_spikes_have_the_mean_and_variance_of_a_process_seen_in_steps(rate, dt):
    p = 1 - np.exp(-rate * dt * 1e-3)
    spikes = np.asarray(poisson(KEY, jnp.full(DRAWS, rate), dt))
    assert set(np.unique(spikes)) <= {0.0, 1.0}  # never two in a step, at 5 kHz either
    np.testing.assert_allclose(spikes.mean(), p, atol=4 * np.sqrt(p * (1 - p) / DRAWS))
    np.testing.assert_allclose(spikes.var(), p * (1 - p), atol=4 * abs(1 - 2 * p) * np.sqrt(p / DRAWS) + 1e-4)


def test_poisson_spikes_of_steps_and_neurons_are_independent():
    spikes = np.asarray(poisson(KEY, jnp.full((DRAWS // 2, 2), 300.0), 1.0))
    (a, b), (c, _) = spikes[:-1].T, spikes[1:].T
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))
    assert abs(np.corrcoef(a, c)[0, 1]) < 4 / np.sqrt(len(a))


def test_poisson_silence_is_as_probable_in_one_long_step_as_in_many_short_ones():
    short = np.asarray(poisson(KEY, jnp.full((DRAWS, 10), 100.0), 0.5))
    long = np.asarray(poisson(KEY, jnp.full(DRAWS, 100.0), 5.0))
    silence = np.exp(-0.5)
    for silent in (~short.any(axis=1), long == 0):
        np.testing.assert_allclose(silent.mean(), silence, atol=4 * np.sqrt(silence * (1 - silence) / DRAWS))


def test_poisson_at_rate_zero_is_silent_and_a_key_gives_the_same_spikes_again():
    assert not np.any(poisson(KEY, jnp.zeros(DRAWS), 1.0))
    rates = jnp.full(1000, 300.0)
    np.testing.assert_array_equal(poisson(KEY, rates, 1.0), poisson(KEY, rates, 1.0))
    assert np.any(np.asarray(poisson(KEY, rates, 1.0)) != poisson(jax.random.key(8), rates, 1.0))


def test_latency_gives_one_spike_the_earlier_the_stronger_and_none_for_zero():
    x = np.array(
        [1.0, 0.99, 0.8, 0.75, 0.7, 0.5, 0.26, 0.25, 0.01, 1e-12, 0.0, -1.0, 3.0]
    )  # 1 - 1e-12 is 1 in single precision
    spikes = np.asarray(latency(jnp.array(x), 4))
    assert spikes.shape == (4, 13)
    np.testing.assert_array_equal(spikes.sum(axis=0), x > 0)
    assert spikes.argmax(axis=0)[x > 0].tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 0]
    many = np.sort(np.random.default_rng(1).uniform(1e-6, 1, 5000))[::-1]
    steps = np.asarray(latency(jnp.array(many), 100)).argmax(axis=0)
    assert (np.diff(steps) >= 0).all()
    assert steps[0] == 0
    assert steps[-1] == 99
    assert latency(jnp.ones((2, 3)), 5).shape == (5, 2, 3)


def test_most_spikes_wins_and_a_shared_top_is_a_tie():
    """Written here count by count, with Mountain Car's tie."""
    counts = np.random.default_rng(1).integers(0, 5, (2000, 3)).tolist()
    winners = [[a for a in range(3) if row[a] == max(row)] for row in counts]
    expected = [w[0] if len(w) == 1 else 1 for w in winners]
    assert sum(len(w) > 1 for w in winners) > 300
    np.testing.assert_array_equal(most_spikes(jnp.array(counts), tie=1), expected)
    np.testing.assert_array_equal(most_spikes(jnp.array(counts, float), tie=1), expected)


def test_a_tie_gives_the_action_asked_for():
    assert [int(most_spikes(jnp.array([4, 4, 1]), tie)) for tie in (0, 1, 2)] == [0, 1, 2]
    assert int(most_spikes(jnp.zeros(5), 3)) == 3
    assert int(most_spikes(jnp.array([0, 0, 1]), 0)) == 2


def test_signed_populations_equal_the_double_sum_of_the_source():
    """6 populations of 100 neurons over 50 steps, as on Half-Cheetah."""
    steps, joints, n = 50, 6, 100
    spikes = np.random.default_rng(2).integers(0, 2, (steps, joints, n))
    expected = np.zeros(joints)
    for p in range(joints):
        for t in range(steps):
            for i in range(n):
                expected[p] += (1 if i < n / 2 else -1) * spikes[t, p, i] / steps
    counts = jnp.array(spikes.sum(axis=0))
    np.testing.assert_allclose(signed_population(counts, steps, normalise=False), expected, rtol=1e-5)
    np.testing.assert_allclose(signed_population(counts, steps), expected / 50, rtol=1e-5)


def test_a_signed_population_spans_minus_one_to_one():
    every = jnp.array([[50, 50, 0, 0], [0, 0, 50, 50], [50, 50, 50, 50], [50, 0, 0, 0]])
    assert signed_population(every, 50).tolist() == [1.0, -1.0, 0.0, 0.5]
    assert signed_population(every, 100).tolist() == [0.5, -0.5, 0.0, 0.25]


def test_softmax_of_rates_equals_scipys_and_sums_to_one():
    rates = np.random.default_rng(1).uniform(0, 100, (20, 4))
    with jax.enable_x64(True):
        found = softmax_rates(jnp.array(rates), temperature=8.0)
        np.testing.assert_allclose(found, scipy.special.softmax(rates / 8.0, axis=1), rtol=1e-12)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(softmax_rates(jnp.array([1e5, 0.0])), [1.0, 0.0])  # no overflow


def test_actions_are_drawn_with_the_softmax_probabilities():
    rates = jnp.array([10.0, 20.0, 25.0])
    p = scipy.special.softmax(np.array([10.0, 20.0, 25.0]) / 10.0)
    actions = sample_softmax(KEY, jnp.broadcast_to(rates, (DRAWS, 3)), temperature=10.0)
    assert actions.shape == (DRAWS,)
    found = np.bincount(actions, minlength=3) / DRAWS
    np.testing.assert_allclose(found, p, atol=4 * np.sqrt(p.max() * (1 - p.max()) / DRAWS))


def test_a_leaky_readout_equals_scipys_filter():
    rng = np.random.default_rng(4)
    spikes = (rng.random((300, 5)) < 0.1).astype(float)
    tau = np.array([1.0, 5.0, 20.0, 100.0, 1000.0])
    with jax.enable_x64(True):
        found = leaky_readout(jnp.array(spikes), tau, 0.5)
        for k in range(5):
            a = np.exp(-0.5 / tau[k])
            np.testing.assert_allclose(found[:, k], scipy.signal.lfilter([1 - a], [1, -a], spikes[:, k]), rtol=1e-9)
        by_one = leaky_readout(jnp.array(spikes), 20.0, 0.5)
        np.testing.assert_allclose(by_one[:, 2], found[:, 2], rtol=1e-14)


def test_a_leaky_readout_is_exact_whatever_the_step():
    """Towards a constant input: y = x + (y0 - x) exp(-t / tau), also where dt exceeds tau."""
    with jax.enable_x64(True):
        for dt in (0.1, 1.0, 50.0):
            y = leaky_readout(jnp.full(40, 3.0), 10.0, dt, initial=-1.0)
            t = dt * np.arange(1, 41)
            np.testing.assert_allclose(y, 3.0 - 4.0 * np.exp(-t / 10.0), rtol=1e-12)


def test_a_leaky_readout_goes_on_from_its_last_value():
    x = jax.random.uniform(KEY, (20, 3))
    whole = leaky_readout(x, 7.0, 1.0)
    first = leaky_readout(x[:8], 7.0, 1.0)
    np.testing.assert_array_equal(jnp.concatenate([first, leaky_readout(x[8:], 7.0, 1.0, first[-1])]), whole)


def test_a_time_constant_of_a_readout_can_be_trained():
    with jax.enable_x64(True):
        x = jax.random.uniform(KEY, (20, 3))

        def loss(tau):
            return (leaky_readout(x, tau, 1.0) ** 2).sum()

        difference = (loss(7.0 + 1e-5) - loss(7.0 - 1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(loss)(7.0), difference, rtol=1e-7)


ALL = {
    "bin_index": lambda x: bin_index(x, 0.0, 1.0, 4),
    "bins": lambda x: bins(x, 0.0, 1.0, 4),
    "place_code": lambda x: place_code(x, 0.0, 1.0, 4),
    "bernoulli_spikes": lambda x: bernoulli_spikes(KEY, x),
    "even_spikes": lambda x: even_spikes(KEY, x, 4),
    "poisson": lambda x: poisson(KEY, 500 * x, 1.0),
    "latency": lambda x: latency(x, 4),
    "most_spikes": lambda x: most_spikes(x, 1),
    "signed_population": lambda x: signed_population(x, 5),
    "softmax_rates": lambda x: softmax_rates(x, 0.5),
    "sample_softmax": lambda x: sample_softmax(KEY, x, 0.5),
    "leaky_readout": lambda x: leaky_readout(x, 5.0, 1.0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("code", ALL.values(), ids=ALL)
def test_jit_and_vmap_give_the_same_and_the_dtype_is_kept(code, dtype):
    with jax.enable_x64(dtype == np.float64):
        x = jnp.asarray(np.random.default_rng(5).uniform(0, 1, (3, 6)).astype(dtype))
        rows = np.stack([code(row) for row in x])
        near = {"rtol": 1e-6 if dtype == np.float32 else 1e-14}
        np.testing.assert_allclose(jax.vmap(code)(x), rows, **near)
        np.testing.assert_allclose(jax.jit(jax.vmap(code))(x), rows, **near)
        assert np.isfinite(rows).all()
        assert code(x[0]).dtype in (dtype, np.int32)
        assert jax.jit(code)(x[0]).dtype == code(x[0]).dtype


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: bins(0.5, 0.0, 1.0, 0), ValueError, "bins.n: expected an integer >= 1, got 0"),
        (lambda: bins(0.5, 1.0, 1.0, 3), ValueError, "bins: expected low < high, got low 1.0, high 1.0"),
        (lambda: bins(0.5, 0.0, np.inf, 3), ValueError, "bins.high: expected finite numbers, got inf"),
        (
            lambda: bins(jnp.ones(3), np.zeros(2), np.ones(2), 3),
            ValueError,
            r"bins.x: expected shape \(..., 2\), as of the bounds, got shape \(3,\)",
        ),
        (lambda: jax.jit(lambda h: bins(0.5, 0.0, h, 3))(1.0), TypeError, "bins.high: expected a known number, got a"),
        (lambda: place_centers(0.0, 1.0, 1), ValueError, "place_centers.n: expected an integer >= 2, got 1; the first"),
        (lambda: place_centers(1.0, 0.0, 5), ValueError, "place_centers: expected low < high, got low 1.0, high 0.0"),
        (lambda: jax.jit(lambda x: place_code(x, 1.0, 0.0, 5))(0.5), ValueError, "place_code: expected low < high"),
        (lambda: place_code(0.5, 0.0, 1.0, 5, sharpness=0.0), ValueError, "place_code.sharpness: .* > 0, got 0"),
        (lambda: place_code(0.5, 0.0, 1.0, 5, floor=1.5), ValueError, r"place_code.floor: .* \[0, 1\], got 1.5"),
        (
            lambda: place_code(jnp.ones(3), np.zeros(2), 1.0, 5),
            ValueError,
            r"place_code.low: expected a scalar or a shape that broadcasts to \(3,\), got \(2,\)",
        ),
        (lambda: bernoulli_spikes(KEY, [0.5, 1.2]), ValueError, r"probabilities in \[0, 1\], got 1.2 at flat index 1"),
        (lambda: bernoulli_spikes(KEY, [0.5, np.nan]), ValueError, "bernoulli_spikes.probability: .* got nan at"),
        (lambda: poisson(KEY, -5.0, 1.0), ValueError, "poisson.rate: expected rates >= 0 Hz, got -5"),
        (lambda: poisson(KEY, 5.0, 0.0), ValueError, "poisson.dt: expected a step > 0 ms, got 0"),
        (lambda: latency(0.5, 0), ValueError, "latency.steps: expected an integer >= 1, got 0"),
        (lambda: most_spikes(jnp.ones(3), 3), ValueError, "most_spikes.tie: expected an action below 3, got 3"),
        (lambda: most_spikes(jnp.ones(3), -1), ValueError, "most_spikes.tie: expected an integer >= 0, got -1"),
        (lambda: most_spikes(2.0, 0), ValueError, r"most_spikes.counts: expected an array of shape \(..., A\), got"),
        (lambda: signed_population(jnp.ones(5), 10), ValueError, "an even number of neurons, .* got 5"),
        (lambda: signed_population(jnp.ones(4), 0), ValueError, "signed_population.steps: .* steps > 0, got 0"),
        (lambda: softmax_rates(jnp.ones(2), 0.0), ValueError, "softmax_rates.temperature: .* > 0, got 0"),
        (lambda: sample_softmax(KEY, jnp.ones(2), -1.0), ValueError, "sample_softmax.temperature: .* > 0, got -1"),
        (lambda: leaky_readout(1.0, 5.0, 1.0), ValueError, r"leaky_readout.inputs: .* \(T, ...\), got shape \(\)"),
        (lambda: leaky_readout(jnp.ones((4, 2)), [5.0, -5.0], 1.0), ValueError, "> 0 ms, got -5.0 at flat index 1"),
        (lambda: leaky_readout(jnp.ones((4, 2)), 5.0, 0.0), ValueError, "leaky_readout.dt: .* > 0 ms, got 0"),
        (lambda: leaky_readout(jnp.ones((4, 2)), np.ones(3), 1.0), ValueError, r"leaky_readout.tau: .* got \(3,\)"),
        (lambda: leaky_readout(jnp.ones((4, 2)), 5.0, 1.0, np.ones(3)), ValueError, r"initial: .* got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("n", [2, 5, 40])
def test_crossings_fire_in_the_step_before_a_threshold_is_passed(n):
    x = np.random.default_rng(4).choice([0.0, 0.2, 0.5, 0.9, 1.0], (60, 3)).astype(np.float32)
    found = np.asarray(threshold_crossings(x, n))
    assert found.shape == (60, 3, 2 * n - 1)
    expected = np.zeros_like(found)
    for t in range(60):
        for i, limit in enumerate(np.linspace(0, 1, n)[:-1].astype(np.float32)):
            if t < 59:
                expected[t, :, i] = (x[t] < limit) & (x[t + 1] >= limit)
                expected[t, :, n - 1 + i] = (x[t] >= limit) & (x[t + 1] < limit)
        expected[t, :, -1] = x[t] == 1
    np.testing.assert_array_equal(found, expected)
