"""Convolutions as projections: neurons lie in maps, and one kernel is the weights of all places.

    net = Network(
        {"in": Population(28 * 28), "maps": Population(15 * 24 * 24, IterativeLIF())},
        {"w": Projection("in", "maps", delay=0.0, convolution=Convolution((1, 28, 28), 15, kernel=5))},
        dt=1.0,
    )
    state = net.init({"w": weights})                     # (5, 5, 1, 15)

The neurons of a population are counted map by map, and in a map row by row: the index is (channel H + row) W + column.

Legend: C_in, C_out maps before and behind; H, W rows and columns of a map; k side of the kernel.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.parameters import Array
from l2l_snn.validate import Count, CountFromZero, check_fields, message


@dataclass(frozen=True)
class Convolution:
    """Which synapses share a weight: what is sent is pooled by its mean, then convolved with a stride of 1.

    As usual in learning, the kernel isn't turned about: what lies at row i of the kernel weighs what lies i rows below.
    Rows and columns that fill no square of the pooling are left out.
    """

    shape: tuple[Count, Count, Count]  # (C_in, H, W) of the presynaptic population
    channels: Count  # C_out
    kernel: Count  # k
    padding: CountFromZero = 0  # rows and columns of zeros around a pooled map
    pool: Count = 1  # squares of so many neurons become their mean before the kernel: no neurons, no weights

    def __post_init__(self) -> None:
        check_fields(self)
        if min(self.post_shape) < 1:
            expected = f"a kernel no larger than a map of {self.pooled[1]} x {self.pooled[2]} with its padding"
            raise ValueError(message("Convolution.kernel", expected, self.kernel))

    @property
    def pooled(self) -> tuple[int, int, int]:
        """(C_in, H, W) after the pooling."""
        C, H, W = self.shape
        return C, H // self.pool, W // self.pool

    @property
    def post_shape(self) -> tuple[int, int, int]:
        """(C_out, H, W) of the postsynaptic population."""
        lost = self.kernel - 1 - 2 * self.padding
        return self.channels, self.pooled[1] - lost, self.pooled[2] - lost

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(k, k, C_in, C_out)."""
        return self.kernel, self.kernel, self.shape[0], self.channels

    def send(self, sent: Float[Array, "rows n_pre"], weights: Float[Array, "k k C_in m"]) -> Float[Array, "rows n"]:
        """Return what arrives of spikes, or of any numbers: n = m H W, those of each of the m kernels together."""
        maps = self._average_squares(jnp.asarray(sent).reshape(-1, *self.shape))
        margin = [(self.padding, self.padding)] * 2
        arriving = jax.lax.conv_general_dilated(
            jnp.moveaxis(maps, 1, 3),  # channels last: XLA's fast way on a CPU
            weights,
            (1, 1),
            margin,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )
        return jnp.moveaxis(arriving, 3, 1).reshape(len(maps), -1)

    def _average_squares(self, maps: Float[Array, "rows C H W"]) -> Float[Array, "rows C h w"]:
        if self.pool == 1:
            return maps
        _, H, W = self.pooled
        cut = maps[:, :, : H * self.pool, : W * self.pool]
        return cut.reshape(*cut.shape[:2], H, self.pool, W, self.pool).mean(axis=(3, 5))
