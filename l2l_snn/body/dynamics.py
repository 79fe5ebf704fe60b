"""How an arm moves under torques: by one formula, or by MuJoCo's MJX (extra `mujoco`).

Both go by semi-implicit Euler steps whose damping is implicit, as MuJoCo's `integrator="Euler"` does:

    (I + dt d) (w_t+1 - w_t) = dt (torque - d w_t - dU/dq),  q_t+1 = q_t + dt w_t+1

Legend: J hinges.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.body.mjcf import Skeleton
from l2l_snn.snn.parameters import Array
from l2l_snn.validate import message

Move: TypeAlias = Callable[[Array, Array, Array], tuple[jax.Array, jax.Array]]  # q, w, torque (J,) -> q, w
Engine = Literal["closed_form", "mjx"]


def mover(skeleton: Skeleton, engine: Engine) -> Move:
    """Return the function that moves the arm by one step of its XML: (q, w, torque) (J,) -> (q, w); rad, rad/s, N m.

    Raises:
        ValueError: the formula is asked for an arm that it doesn't cover.
        ModuleNotFoundError: the extra `mujoco` is missing.
    """
    return _closed_form(skeleton) if engine == "closed_form" else _mjx(skeleton)


def inertia(skeleton: Skeleton) -> float:
    """Return the moment of inertia of an arm with one hinge about it, its armature included, kg m^2."""
    (hinge,) = skeleton.hinges
    axis, centre = np.array(hinge.axis), np.array(skeleton.centre)
    own = float(np.sum(axis**2 * np.array(skeleton.inertia)))
    return own + skeleton.mass * float(np.sum(np.cross(axis, centre) ** 2)) + hinge.armature


def _closed_form(skeleton: Skeleton) -> Move:
    todo = "set engine: mjx for other arms"
    if len(skeleton.hinges) != 1:
        raise ValueError(message("engine closed_form", "an arm with one hinge", f"{len(skeleton.hinges)} hinges", todo))
    (hinge,), (x, y, lever) = skeleton.hinges, skeleton.centre
    if hinge.axis[2] or x or y:
        got = f"axis {hinge.axis}, centre of mass {skeleton.centre}"
        raise ValueError(message("engine closed_form", "a level hinge under an upright arm", got, todo))
    dt, total = skeleton.timestep, inertia(skeleton)
    if not total > 0:
        raise ValueError(message(skeleton.path.name, "an arm with an inertia > 0", f"{total:g} kg m^2"))
    weight = skeleton.mass * skeleton.gravity * lever

    def move(q: Array, w: Array, torque: Array) -> tuple[jax.Array, jax.Array]:
        w = w + dt * (torque - hinge.damping * w + weight * jnp.sin(q)) / (total + dt * hinge.damping)
        free = q + dt * w
        q = jnp.clip(free, hinge.low, hinge.high)
        return q, jnp.where(q == free, w, 0.0)  # the stop of the joint takes all speed

    return move


@lru_cache(maxsize=4)
def _mjx(skeleton: Skeleton) -> Move:
    from importlib import import_module

    mujoco, mjx = (import_module(name) for name in ("mujoco", "mujoco.mjx"))  # an extra: may be missing
    model = mujoco.MjModel.from_xml_path(str(skeleton.path))
    # one rigid body: nothing to collide with; the range is kept here, as by the formula
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CONTACT
    with jax.ensure_compile_time_eval():  # the first caller may be tracing
        on_device: Any = mjx.put_model(model)
    low, high = (np.array([getattr(hinge, end) for hinge in skeleton.hinges]) for end in ("low", "high"))

    def move(q: Array, w: Array, torque: Array) -> tuple[jax.Array, jax.Array]:
        with jax.numpy_rank_promotion("allow"):  # MJX's own code promotes
            data: Any = mjx.make_data(on_device).replace(qpos=q, qvel=w, qfrc_applied=torque)
            data = mjx.step(on_device, data)
        q = jnp.clip(data.qpos, low.astype(q.dtype), high.astype(q.dtype))
        return q, jnp.where(q == data.qpos, data.qvel, 0.0)

    return move
