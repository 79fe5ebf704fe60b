"""What follows from rewards: estimates of the advantage of actions.

Legend: B environments side by side, H steps.
"""

from typing import Any


def advantages(
    rewards: Any, values: Any, next_values: Any, terminated: Any, truncated: Any, discount: float, decay: float
) -> Any:
    """Return the generalised advantage estimates of the actions (Schulman et al. 2016, eq. 16), traced by JAX.

        delta_t = r_t + gamma V'_t - V_t;  A_t = delta_t + gamma lambda A_t+1

    V'_t is the value of what was observed after the step, 0 where the task `terminated`. After both ends of an episode
    the sum begins anew; where it was `truncated`, what would have come is worth V'_t. So is what follows a row's end.

    Args:
        rewards: (B, H).
        values: (B, H) V_t, of the observation before the action.
        next_values: (B, H) V'_t, of the observation after it, before any reset.
        terminated: (B, H) bool.
        truncated: (B, H) bool.
        discount: gamma.
        decay: lambda.

    Returns:
        (B, H) advantages.
    """
    import jax
    import jax.numpy as jnp

    errors = rewards + discount * jnp.where(terminated, 0.0, next_values) - values
    goes_on = 1.0 - (terminated | truncated)

    def back(later: Any, now: Any) -> tuple[Any, Any]:
        error, factor = now
        advantage = error + factor * later
        return advantage, advantage

    factors = discount * decay * goes_on
    _, found = jax.lax.scan(back, jnp.zeros_like(errors[:, 0]), (errors.T, factors.T), reverse=True)
    return found.T
