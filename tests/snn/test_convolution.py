"""Convolutions as projections: a network with one is a loop over its synapses, and what doesn't fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.snn.bptt import BPTT
from l2l_snn.snn.cells import IafPscExp, IterativeLIF
from l2l_snn.snn.convolution import Convolution
from l2l_snn.snn.eprop import EProp
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import PairSTDP
from l2l_snn.snn.surrogate import rectangular

pytestmark = pytest.mark.usefixtures("compiled_soon")

MAPS = Convolution((2, 7, 6), 3, kernel=2, padding=1, pool=2)


def matrix(maps: Convolution, kernel: np.ndarray) -> np.ndarray:
    """Return the weights (n_pre, n_post) of all synapses, one after the other."""
    (C, H, W), (channels, h, w), p = maps.shape, maps.post_shape, maps.pool
    found = np.zeros((C * H * W, channels * h * w))
    for post in np.ndindex(channels, h, w):
        for i, j, c in np.ndindex(maps.kernel, maps.kernel, C):
            row, column = post[1] + i - maps.padding, post[2] + j - maps.padding
            if not (0 <= row < H // p and 0 <= column < W // p):
                continue
            for a, b in np.ndindex(p, p):
                pre = (c * H + row * p + a) * W + column * p + b
                found[pre, (post[0] * h + post[1]) * w + post[2]] += kernel[i, j, c, post[0]] / p**2
    return found


def network(convolution: Convolution | None, cell=None, maps: Convolution = MAPS, **options) -> Network:
    """Return a source and maps, joined by a convolution or by the matrix of the same synapses."""
    n_pre, n_post = int(np.prod(maps.shape)), int(np.prod(maps.post_shape))
    populations = {"in": Population(n_pre), "maps": Population(n_post, cell or IterativeLIF(spike=rectangular(1.0)))}
    projection = Projection("in", "maps", convolution=convolution, **{"delay": 1.0} | options)
    return Network(populations, {"w": projection}, dt=1.0)


@pytest.mark.parametrize("cell", [None, IafPscExp()], ids=["one receptor", "two receptors"])
@pytest.mark.parametrize("maps", [MAPS, Convolution((2, 7, 6), 3, kernel=4, padding=2, pool=2)])
def test_a_convolution_is_the_matrix_of_its_synapses_forward_and_backward(maps, cell):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=maps.weight_shape) * (1.0 if cell is None else 8000.0)
    spikes = (generator.random((9, 2, 84)) < 0.4).astype(np.float32)
    nets = network(maps, cell, maps), network(None, cell, maps)
    weights = kernel, matrix(maps, kernel)
    target = jnp.asarray(generator.random((9, 2, nets[0].populations["maps"].n)))

    def loss(record, target):
        return jnp.sum((record.spikes["maps"] - target) ** 2)

    found = []
    for net, w in zip(nets, weights, strict=True):
        state = net.init({"w": w}, batch=2)
        _, record = net.rollout(state, spikes={"in": spikes})
        rule = BPTT()(net, state, loss, target, spikes={"in": spikes})
        found.append((np.asarray(record.spikes["maps"]), rule.weights["w"]))
    assert 0.02 < found[0][0].mean() < 0.9
    np.testing.assert_array_equal(found[0][0], found[1][0])
    back = jax.vjp(lambda k: _dense(maps, k), jnp.asarray(kernel))[1](found[1][1])[0]  # of each synapse, summed
    np.testing.assert_allclose(found[0][1], back, rtol=1e-4, atol=1e-4)
    if cell is None:
        assert np.abs(found[0][1]).max() > 0


def _dense(maps: Convolution, kernel: jax.Array) -> jax.Array:
    """Return `matrix` as a linear function of the kernel, from the matrices of its unit kernels."""
    units = [matrix(maps, unit.reshape(maps.weight_shape)) for unit in np.eye(kernel.size)]
    return jnp.tensordot(kernel.ravel(), jnp.asarray(np.stack(units), kernel.dtype), 1)


def test_a_convolution_goes_round_a_loop():
    maps, generator = Convolution((2, 3, 3), 2, kernel=3, padding=1), np.random.default_rng(1)
    kernel, drive = generator.normal(size=maps.weight_shape), generator.random((8, 18)).astype(np.float32)
    spikes = []
    for convolution, w in ((maps, kernel), (None, matrix(maps, kernel))):
        projection = Projection("maps", "maps", convolution=convolution)
        net = Network({"maps": Population(18, IterativeLIF())}, {"w": projection}, dt=1.0)
        _, record = net.rollout(net.init({"w": w}), currents={"maps": drive}, reverse_only=True)
        spikes.append(np.asarray(record.spikes["maps"]))
    assert 0.1 < spikes[0].mean() < 0.9
    np.testing.assert_array_equal(*spikes)


def test_rows_that_fill_no_square_are_left_out():
    maps = Convolution((1, 5, 5), 1, kernel=2, pool=2)
    given = np.zeros((1, 5, 5))
    given[0, 4], given[0, :, 4] = 1, 1
    assert maps.post_shape == (1, 1, 1)
    assert float(maps.send(given.reshape(1, -1), jnp.ones(maps.weight_shape)).sum()) == 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Convolution((1, 4, 4), 2, kernel=3, pool=2), "no larger than a map of 2 x 2"),
        (lambda: network(Convolution((2, 7, 7), 3, kernel=2)), "populations.in: expected 98 neurons, 2 x 7 x 7"),
        (lambda: network(Convolution((2, 7, 6), 3, kernel=2)), "populations.maps: expected 90 neurons, 3 x 6 x 5"),
        (lambda: network(MAPS, rule=PairSTDP()), "w.rule: expected none with a convolution"),
        (lambda: network(MAPS, mask=np.ones((84, 48))), "w.mask: expected none"),
        (lambda: network(MAPS, delay=np.ones((84, 48))), "w.delay: expected none"),
        (lambda: network(MAPS).init({"w": np.ones((84, 48))}), "weights.w: expected"),
        (lambda: network(MAPS).init({"w": np.ones((3, *MAPS.weight_shape))}, batch=3), "weights.w: expected"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_eprop_and_nir_name_what_they_can_not_take():
    from l2l_snn.snn.interchange import to_nir

    net, w = network(MAPS), np.ones(MAPS.weight_shape)
    with pytest.raises(ValueError, match="a weight for each pair with EProp"):
        EProp()(net, net.init({"w": w}), lambda record, _: record.spikes["maps"].sum(), spikes={"in": np.ones((2, 84))})
    with pytest.raises(TypeError, match="got a convolution"):
        to_nir(net, {"w": w})
