"""Test functions with a known optimum, to see what an optimizer can do without the cost of a network.

Sphere (De Jong 1975), Rosenbrock (1960), Rastrigin (1974) and Ackley (1987), as collected by Mühlenbein, Schomisch &
Born (1991), The parallel genetic algorithm as function optimizer, and Molga & Smutnicki (2005).

Legend: D dimensions.
"""

from dataclasses import dataclass
from math import e, pi
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.optimizee import JaxOptimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import AtLeast, NotNegative, Within


def sphere(x: Any) -> Any:
    """Return sum x_i^2, of x (D,); 0 at 0."""
    return jnp.sum(x**2)


def rosenbrock(x: Any) -> Any:
    """Return sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, of x (D,); 0 at 1, at the end of a curved valley."""
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rastrigin(x: Any) -> Any:
    """Return 10 D + sum x_i^2 - 10 cos(2 pi x_i), of x (D,); 0 at 0, local optima near all integers."""
    return jnp.sum(x**2 + 10.0 * (1.0 - jnp.cos(2.0 * pi * x)))


def ackley(x: Any) -> Any:
    """Return 20 - 20 exp(-0.2 rms(x)) + e - exp(mean cos(2 pi x_i)), of x (D,); 0 at 0, flat with a narrow funnel.

    The optimum is a kink; the gradient given there is 0.
    """
    square = jnp.mean(x**2)
    rms = jnp.where(square > 0.0, jnp.sqrt(jnp.where(square > 0.0, square, 1.0)), 0.0)
    return -20.0 * jnp.expm1(-0.2 * rms) - e * jnp.expm1(jnp.mean(jnp.cos(2.0 * pi * x)) - 1.0)


# name: function, half width of its usual box around 0, each coordinate of its optimum
FUNCTIONS = {
    "sphere": (sphere, 5.12, 0.0),
    "rosenbrock": (rosenbrock, 2.048, 1.0),
    "rastrigin": (rastrigin, 5.12, 0.0),
    "ackley": (ackley, 32.768, 0.0),
}


@dataclass(frozen=True)
class Function(JaxOptimizee):
    """fitness = -f(x - offset) + noise; the best is 0, at `optimum()`. Metric `distance`: |x - optimum|, in x.

    By default the optimum isn't the middle of the box, where some optimizers start or drift to: offset is
    `shift` times the box's width, with sign + for even coordinates and - for odd ones.
    """

    name: Literal["sphere", "rosenbrock", "rastrigin", "ackley"] = "sphere"
    dimension: Annotated[int, AtLeast(2), "rosenbrock needs a neighbour"] = 10  # D
    noise: NotNegative = 0.0  # standard deviation of normal noise on the fitness
    # of the optimum, as a share of the box's width
    shift: Annotated[float, Within(0.0, 0.25), "further out the optimum may leave the box"] = 0.1
    precision = "float64"

    def make_space(self) -> Space:
        """Return the D coordinates within the function's usual box."""
        _, width, _ = FUNCTIONS[self.name]
        return Space(x=Real(-width, width, shape=(self.dimension,)))

    def offset(self) -> np.ndarray:
        """Return by how much the function is moved, (D,), in x."""
        _, width, _ = FUNCTIONS[self.name]
        return self.shift * 2.0 * width * np.where(np.arange(self.dimension) % 2 == 0, 1.0, -1.0)

    def optimum(self) -> dict[str, np.ndarray]:
        """Return the best parameters; their fitness is 0 (plus noise)."""
        _, _, best = FUNCTIONS[self.name]
        return {"x": best + self.offset()}

    def evaluate(self, params: dict[str, Any], key: Any, *, watch: bool) -> Any:
        f, _, _ = FUNCTIONS[self.name]
        fitness = -f(params["x"] - self.offset())
        if self.noise:
            fitness = fitness + self.noise * jax.random.normal(key, dtype=fitness.dtype)
        return fitness, {"distance": jnp.sqrt(jnp.sum((params["x"] - self.optimum()["x"]) ** 2))}
