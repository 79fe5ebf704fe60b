"""Learning from a teacher: the families of functions, hints, and the baselines; the network is in `learner.py`.

Bellec et al. 2018 (004), section 5. In an episode a function is drawn from a family; E examples of it are shown, each
for 20 ms, together with the right answer to the one before. The learner's weights are fixed: what it learns of the
function is in its state.

What isn't in the source's text: the range of the inputs, the code of the populations, how the sigmoid is scaled. With
inputs from [-1, 1] and the plain logistic function all its targets are linear but for a mean square error of 1.3e-5
(variance 1.6e-3): nothing to learn for neurons that see a value by some hundred spikes. `gain` is a factor before each
sigmoid; 1 is the printed function.

Legend: B episodes side by side; E examples; I inputs of the function; H its hidden units; K hints.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.seeding import jax_key, seed_words

HIDDEN = 10  # H


class Episodes(NamedTuple):
    """Examples of B functions."""

    x: Any  # (B, E, I) in [-1, 1]
    y: Any  # (B, E) what the function gives, in the family's unit


class Family(NamedTuple):
    """A family of functions of I inputs."""

    inputs: int  # I
    low: float  # least and largest value of y, as it is coded
    high: float
    unit: float  # errors are divided by it before they are squared and trained


FAMILIES = {"network": Family(2, 0.0, 1.0, 1.0), "sinus": Family(1, -5.0, 5.0, 5.0)}


def sample_function(family: str, key: jax.Array) -> dict[str, jax.Array]:
    """Return the parameters of a function of the family.

    network: (2, 10) and (10,) weights, (10,) biases in [-1, 1] ("40 parameters: 30 weights and 10 biases").
    sinus: amplitude in [0.1, 5], phase in [0, 2 pi).
    """
    keys = jax.random.split(key, 3)
    if family == "sinus":
        amplitude = jax.random.uniform(keys[0], minval=0.1, maxval=5.0)
        return {"amplitude": amplitude, "phase": jax.random.uniform(keys[1], maxval=2 * np.pi)}
    shapes = {"w_hidden": (2, HIDDEN), "b_hidden": (HIDDEN,), "w_out": (HIDDEN,)}
    return {
        name: jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def evaluate_function(family: str, function: dict[str, Any], x: Any, gain: float) -> jax.Array:
    """Return the function at x (..., I) in [-1, 1], (...); a sinus takes 5 x, so that it sees [-5, 5]."""
    if family == "sinus":
        return function["amplitude"] * jnp.sin(5 * x[..., 0] + function["phase"])
    b = function["b_hidden"].reshape((1,) * (x.ndim - 1) + (HIDDEN,))
    hidden = jax.nn.sigmoid(gain * (x @ function["w_hidden"] + b))
    return jax.nn.sigmoid(gain * (hidden @ function["w_out"]))


def sample_episodes(family: str, key: jax.Array, episodes: int, examples: int, gain: float) -> tuple[Episodes, Any]:
    """Return examples of functions sampled from the family, inputs uniform in [-1, 1], and the functions."""

    def one(key: jax.Array) -> tuple[Any, Any, Any]:
        which, where = jax.random.split(key)
        function = sample_function(family, which)
        x = jax.random.uniform(where, (examples, FAMILIES[family].inputs), minval=-1.0, maxval=1.0)
        return x, evaluate_function(family, function, x, gain), function

    x, y, functions = jax.vmap(one)(jax.random.split(key, episodes))
    return Episodes(x, y), functions


def hint_grid(family: str) -> jax.Array:
    """Return the points (3^I, I) at which hints tell the function: -0.7, 0 and 0.7 of each input."""
    inputs = FAMILIES[family].inputs
    return jnp.stack(jnp.meshgrid(*[jnp.array([-0.7, 0.0, 0.7])] * inputs), axis=-1).reshape(-1, inputs)


def hints(family: str, episodes: Episodes, functions: Any, gain: float) -> jax.Array:
    """Return what the network's state has to hold to answer well, for readouts that are there in training alone.

    Args:
        family, gain: as for `evaluate_function`.
        episodes, functions: as `sample_episodes` returns them.

    Returns:
        (B, E, K), K = 3^I + 2 I, scaled to variances of about 1: the function at `hint_grid`, the same at every
        example; the input before; that times the answer it had.
    """
    (B, E), grid = episodes.y.shape, hint_grid(family)
    low, high = FAMILIES[family].low, FAMILIES[family].high
    values = jax.vmap(lambda function: evaluate_function(family, function, grid, gain))(functions)
    x, y = (jnp.pad(array[:, :-1], ((0, 0), (1, 0), (0, 0))) for array in (episodes.x, episodes.y[..., None]))
    unit = (low + high) / 2, (high - low) / 2
    answer = jnp.where(jnp.arange(E)[:, None] > 0, (y - unit[0]) / unit[1], 0.0)
    values = jnp.broadcast_to(((values - unit[0]) / unit[1])[:, None], (B, E, len(grid)))
    return jnp.concatenate([values, 3**0.5 * x, 3**0.5 * x * answer], axis=-1)


def linear_predictions(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return what the optimal linear predictor, fitted to all preceding examples, answers to each.

    Least squares; as long as the examples don't determine it, the smallest coefficients that fit (0 at first).

    Args:
        x: (B, E, I) inputs.
        y: (B, E) right answers.

    Returns:
        (B, E) predictions, of an offset and I slopes.

    >>> x = np.linspace(-1, 1, 5)[None, :, None]
    >>> linear_predictions(x, 2 * x[..., 0] + 1)[0].round(9).tolist()[2:]  # two examples determine a line
    [1.0, 2.0, 3.0]
    """
    features = np.concatenate([np.ones((*x.shape[:2], 1)), np.asarray(x, np.float64)], axis=2)
    y = np.asarray(y, np.float64)
    few = min(features.shape[1], 2 * features.shape[2])  # pseudoinverses are exact and dear, normal equations neither
    w = np.zeros_like(features)
    for n in range(1, few):
        w[:, n] = np.einsum("bin,bn->bi", np.linalg.pinv(features[:, :n]), y[:, :n])
    gram = np.cumsum(features[..., None] * features[:, :, None], axis=1)[:, few - 1 : -1]
    moment = np.cumsum(features * y[..., None], axis=1)[:, few - 1 : -1]
    w[:, few:] = np.linalg.solve(gram, moment[..., None])[..., 0]
    return (w * features).sum(axis=2)


def batch_linear_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the squared errors (B, E) of the optimal linear predictor that is fitted to all E examples of a function.

    The source's "optimal linear predictor fitted to the batch of all" of its figure 2C; inputs x (B, E, I), answers y.
    """
    features = np.concatenate([np.ones((*x.shape[:2], 1)), np.asarray(x, np.float64)], axis=2)
    y = np.asarray(y, np.float64)
    fitted = np.einsum("bie,be->bi", np.linalg.pinv(features), y)
    return (np.einsum("bei,bi->be", features, fitted) - y) ** 2


def straight_examples(amplitude: float, phase: float, examples: int) -> Episodes:
    """Return examples of a sinus that all lie on a straight line, (1, E, 1) and (1, E): an adversary's choice.

    The line goes through the zero next to x = 0, with a fifth of the slope that the sinus has there, and meets it in
    three points, -d, 0 and d away, sin(d) = d / 5: one after the other, again and again.
    """
    middle = -(phase + np.pi * round(-phase / np.pi))  # 5 x: the sinus is 0 there, at most pi / 2 away from 0
    away = 2.595739079649475  # d
    points = np.array([middle - away, middle, middle + away])[np.arange(examples) % 3]
    return Episodes(points[None, :, None] / 5, amplitude * np.sin(points + phase)[None])


def backpropagation_predictions(
    x: np.ndarray, y: np.ndarray, *, gain: float, learning_rate: float = 0.3, decay: float = 1e-4, seed: int = 0
) -> np.ndarray:
    """Return what the teacher's own architecture answers, trained by one step of backpropagation after each example.

    Small initial weights and biases, and weight decay (the source: "with a prior for small weights").

    Args:
        x: (B, E, 2) inputs.
        y: (B, E) right answers in [0, 1].
        gain: as of the teacher.
        learning_rate: of the error's half square.
        decay: of weights and biases, per step and unit of learning rate.
        seed: of the initial weights, normal with standard deviation 0.1.

    Returns:
        (B, E) predictions, each before its example was learnt.
    """
    shapes = {"w_hidden": (2, HIDDEN), "b_hidden": (HIDDEN,), "w_out": (HIDDEN,)}
    keys = jax.random.split(jax_key(seed_words(seed)), 3)
    first = {name: 0.1 * jax.random.normal(k, s) for k, (name, s) in zip(keys, shapes.items(), strict=True)}

    def error(function: Any, x: Any, y: Any) -> tuple[Any, Any]:
        answer = evaluate_function("network", function, x, gain)
        return (answer - y) ** 2 / 2, answer

    def step(function: Any, example: Any) -> Any:
        (_, answer), slope = jax.value_and_grad(error, has_aux=True)(function, *example)
        return jax.tree.map(lambda w, g: w - learning_rate * (g + decay * w), function, slope), answer

    return np.asarray(jax.jit(jax.vmap(lambda x, y: jax.lax.scan(step, first, (x, y))[1]))(x, y))
