"""Lengths and moment arms of muscles that run from the ground to an arm that turns about the origin.

One hinge: the triangle of Brand 2024, eq. 2.19-2.20. Several hinges of one body: positions in space. Lengths in m.

Legend: M muscles, J hinges.
"""

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.body.mjcf import Skeleton, Strand
from l2l_snn.snn.parameters import Array


def triangle(con1: Array, con2: Array, angle: Array) -> tuple[jax.Array, jax.Array]:
    """Return length and moment arm of muscles over one hinge (Brand 2024, eq. 2.20 and 2.19).

        l_m = sqrt(l_con1^2 + l_con2^2 - 2 l_con1 l_con2 cos(angle))
        arm = l_con1 sin(acos((l_m^2 + l_con1^2 - l_con2^2) / (2 l_m l_con1))) = l_con1 l_con2 sin(angle) / l_m

    Args:
        con1: distance of the hinge from the attachment on the arm.
        con2: distance of the hinge from the attachment on the ground.
        angle: between these two, rad; of an arm that stands upright it is pi / 2.
    """
    length = jnp.sqrt(con1**2 + con2**2 - 2 * con1 * con2 * jnp.cos(angle))
    return length, con1 * con2 * jnp.sin(angle) / length  # by the law of sines, without the slope of acos at 1


def muscles_of(skeleton: Skeleton, q: Array) -> tuple[jax.Array, jax.Array]:
    """Return lengths (M,) and moment arms (M, J), -d length / dq, of all muscles at angles q (J,), rad.

    A muscle that pulls with F turns hinge j with the torque F arm_j.
    """
    if len(skeleton.hinges) > 1:
        return _reach(skeleton, q), -jax.jacfwd(lambda q: _reach(skeleton, q))(q)
    triangles = np.array([_measure_triangle(skeleton, strand) for strand in skeleton.strands], q.dtype)  # (M, 4)
    side, con1, con2, upright = triangles.T
    length, arm = triangle(con1, con2, upright - side * q)
    return length, (side * arm)[:, None]


def _measure_triangle(skeleton: Skeleton, strand: Strand) -> tuple[float, float, float, float]:
    """Return side (1: a turn forward shortens it), l_con1, l_con2 and the angle between them at 0."""
    arm, ground = np.asarray(strand.arm), np.asarray(strand.ground)
    con1, con2 = float(np.linalg.norm(arm)), float(np.linalg.norm(ground))
    side = np.sign(np.cross(skeleton.hinges[0].axis, arm) @ ground)
    return float(side), con1, con2, float(np.arccos(arm @ ground / (con1 * con2)))


def _reach(skeleton: Skeleton, q: Array) -> jax.Array:
    """Return the distance (M,) of the muscles' two ends in space."""
    ends = jnp.asarray([strand.arm for strand in skeleton.strands], q.dtype) @ _turn(skeleton, q).T
    ground = jnp.asarray([strand.ground for strand in skeleton.strands], q.dtype)
    return jnp.linalg.norm(ends - ground, axis=1)


def _turn(skeleton: Skeleton, q: Array) -> jax.Array:
    """Return the rotation (3, 3) of the arm by its hinges, one after the other, the first next to the ground."""
    whole = jnp.eye(3, dtype=q.dtype)
    for j, hinge in enumerate(skeleton.hinges):
        x, y, z = hinge.axis
        cross = jnp.asarray([[0, -z, y], [z, 0, -x], [-y, x, 0]], q.dtype)
        whole = whole @ (jnp.eye(3, dtype=q.dtype) + jnp.sin(q[j]) * cross + (1 - jnp.cos(q[j])) * cross @ cross)
    return whole
