"""Hill-type muscles with a stiff tendon in series (Brand 2024, section 2.3.5 and 2.4.4). Legend: M muscles."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.parameters import Array
from l2l_snn.validate import Below1, Positive, check_fields


class Force(NamedTuple):
    """What M muscles pull with, N."""

    active: Array  # (M,) CE of eq. 2.13
    passive: Array  # (M,) PE


@dataclass(frozen=True)
class HillMuscle:
    """Contractile and passive elastic element, side by side (Brand 2024, eq. 2.13-2.18).

        F = F_max (f_l f_v a + f_PE)                        (2.13, 2.14)
        f_l = exp(-(l - 1)^2 / 0.5^2)                       (2.15)
        f_v = 1 - atan(10 v) / 1.5, v > 0 shortening        (2.16)
        f_PE = (l - 1)^2 where l > 1, else 0                (2.17)

    l is the length of the fibres in resting lengths, v their velocity in v_max. The tendon is stiff and takes the share
    r of the muscle's resting length l_0 (a formula is not given): l = (l_m - r l_0) / ((1 - r) l_0), so the larger r,
    the more the same swing strains the fibres.

    How the source is read: eq. 2.15 and 2.16 as figure 2.2C and D show them; as printed, f_l is 4 at rest and f_v is 0.
    As printed, eq. 2.17 jumps by F_max where a parabola begins. Its derivative 2.18, which stands in for that
    jump's, is `passive_slope: printed`. A muscle can't push: f_v is at least 0. F_max and v_max are not given; here the
    muscles' pull outdoes gravity at 0.6 rad, their passive part never does, and a twitch moves the arm of
    `optimizees/arm` by about 4 degrees.
    """

    f_max: Positive = 0.28  # N
    v_max: Positive = 0.01  # m/s
    tendon_ratio: Below1 = 0.75  # r
    passive_slope: Literal["exact", "printed"] = "exact"  # derivative of f_PE, or that of eq. 2.18

    def __post_init__(self) -> None:
        check_fields(self)

    def fibre_length(
        self, length: Float[Array, " muscles"], rest: Float[Array, " muscles"], ratio: Array | None = None
    ) -> jax.Array:
        """Return l (M,) of muscles and tendons of a length and a resting length (M,), m; `ratio` instead of r."""
        r = self.tendon_ratio if ratio is None else ratio
        return (length / rest - r) / (1 - r)

    def pull(
        self, level: Float[Array, " muscles"], fibre: Float[Array, " muscles"], shortening: Float[Array, " muscles"]
    ) -> Force:
        """Return the forces of activation levels, fibre lengths l, and velocities of shortening in m/s, (M,) each."""
        f_l = jnp.exp(-(((fibre - 1) / 0.5) ** 2))  # eq. 2.15
        f_v = jnp.maximum(1 - jnp.arctan(10 * shortening / self.v_max) / 1.5, 0.0)  # eq. 2.16
        f_pe = (_parabola if self.passive_slope == "exact" else _parabola_as_printed)(fibre)
        return Force(self.f_max * f_l * f_v * level, self.f_max * f_pe)


def _parabola(fibre: Array) -> jax.Array:
    """Return f_PE of eq. 2.17."""
    return jnp.maximum(fibre - 1, 0.0) ** 2


@jax.custom_jvp
def _parabola_as_printed(fibre: Array) -> jax.Array:
    return _parabola(fibre)


@_parabola_as_printed.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[jax.Array, jax.Array]:
    (fibre,), (tangent,) = primals, tangents
    return _parabola(fibre), fibre**2 / (jnp.abs(fibre - 1) + 1) * tangent  # eq. 2.18
