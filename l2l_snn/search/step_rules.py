"""Step rules: what makes a step of an ascent direction. Those of Optax, and ClipUp, in float64, on the CPU.

Stochastic gradient with momentum (Polyak 1964; Nesterov 1983, in the form of Sutskever et al. 2013), Adam (Kingma & Ba
2015), AdamW (Loshchilov & Hutter 2019), RMSProp (Hinton 2012), Adagrad (Duchi et al. 2011), all those of Optax
(DeepMind 2020, The DeepMind JAX ecosystem); ClipUp (Toklu, Liskowski & Srivastava 2020, ClipUp: a simple and powerful
optimizer for distribution-based policy evolution).

Legend: D search coordinates, K numbers in the memory of a rule.

    rule = StepRule("adam", learning_rate=0.05)
    memory = rule.first_memory(D)
    step, memory = rule.step(direction, memory, point)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np

from l2l_snn.validate import Below1, Count, CountFromZero, NotNegative, Positive, check_fields, message

Decay = Annotated[Below1, "1 forgets nothing; take 0.9"]


@dataclass(frozen=True)
class StepRule:
    """A rule that makes steps of ascent directions; in a job e.g. `step: {rule: adam, learning_rate: 0.05}`."""

    rule: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad", "clipup"] = "adam"
    learning_rate: Positive = 0.05  # about the length of a step of adam and clipup, in units of the coordinates
    momentum: Decay = 0.0  # of sgd, rmsprop and clipup
    nesterov: bool = False  # whether the momentum looks ahead
    b1: Decay = 0.9  # decay of the first moment, of adam and adamw
    b2: Decay = 0.999  # decay of the second moment: of adam, adamw and, as its only one, rmsprop
    eps: Positive = 1e-8  # added to the root of the second moment
    weight_decay: NotNegative = 0.0001  # of adamw, towards the point 0, per unit of learning rate
    max_speed: Positive = 0.1  # longest step of clipup; twice the learning rate is its authors' advice
    schedule: Literal["constant", "exponential", "cosine", "linear", "piecewise"] = "constant"  # of the learning rate
    schedule_steps: Count = (
        100  # exponential falls by `schedule_factor` in so many steps; cosine and linear end after them
    )
    # also the last share of the learning rate with cosine and linear, and the factor at each boundary
    schedule_factor: NotNegative = 0.1
    boundaries: tuple[Count, ...] = ()  # steps at which a piecewise constant rate falls, counted after warm-up
    warmup: CountFromZero = 0  # steps in which the rate first rises from 0
    clip: Literal["none", "global_norm", "value"] = "none"  # of each direction
    clip_limit: Positive = 1.0  # largest norm, or largest entry

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.schedule == "piecewise") != bool(self.boundaries):
            expected = "steps with schedule piecewise, and only then"
            raise ValueError(message("StepRule.boundaries", expected, f"{self.boundaries} with {self.schedule}"))
        looks_ahead = self.rule in ("adam", "adamw") or (self.rule in ("sgd", "rmsprop") and self.momentum > 0)
        if self.nesterov and not looks_ahead:
            expected = "false, or adam, adamw, or sgd or rmsprop with momentum"
            got = f"true with {self.rule} and momentum {self.momentum}"
            raise ValueError(message("StepRule.nesterov", expected, got, "set momentum, e.g. 0.9"))
        if not self.schedule_factor and self.schedule in ("exponential", "piecewise"):
            raise ValueError(message("StepRule.schedule_factor", "a number > 0", 0, "linear and cosine fall to 0"))
        if self.rule == "clipup" and (self.schedule != "constant" or self.warmup):
            raise ValueError(message("StepRule.schedule", "constant and no warmup with clipup", self.schedule))

    def first_memory(self, size: int) -> np.ndarray:
        """Return the memory (K,) before the first step, in D = `size` coordinates: moments and step count, packed."""
        return _compile_rule(self, size)[0]

    def step(self, direction: np.ndarray, memory: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps (..., D) and the next memories (..., K).

        Args:
            direction: (..., D) where the fitness rises, e.g. its gradient.
            memory: (..., K).
            point: (..., D) where the steps begin; weights decay towards 0.
        """
        import jax

        _, compiled = _compile_rule(self, direction.shape[-1])
        with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
            step, memory = compiled(direction, memory, point)
        return np.array(step), np.array(memory)

    def learning_rates(self) -> Any:
        """Return the learning rate as Optax wants it: a number, or a function of the step."""
        import optax

        rate, steps, factor = self.learning_rate, self.schedule_steps, self.schedule_factor
        schedules = {
            "constant": lambda: optax.constant_schedule(rate),
            "exponential": lambda: optax.exponential_decay(rate, steps, factor),
            "cosine": lambda: optax.cosine_decay_schedule(rate, steps, factor),
            "linear": lambda: optax.linear_schedule(rate, rate * factor, steps),
            "piecewise": lambda: optax.piecewise_constant_schedule(rate, dict.fromkeys(self.boundaries, factor)),
        }
        schedule = schedules[self.schedule]()
        if not self.warmup:
            return rate if self.schedule == "constant" else schedule
        return optax.join_schedules([optax.linear_schedule(0.0, rate, self.warmup), schedule], [self.warmup])

    def transformation(self) -> Any:
        """Return the Optax transformation of gradients that this rule stands for."""
        import optax

        rates, momentum, ahead = self.learning_rates(), self.momentum or None, self.nesterov
        rules = {
            "sgd": lambda: optax.sgd(rates, momentum, ahead),
            "adam": lambda: optax.adam(rates, self.b1, self.b2, self.eps, nesterov=ahead),
            "adamw": lambda: optax.adamw(
                rates, self.b1, self.b2, self.eps, weight_decay=self.weight_decay, nesterov=ahead
            ),
            "rmsprop": lambda: optax.rmsprop(rates, self.b2, self.eps, momentum=momentum, nesterov=ahead),
            "adagrad": lambda: optax.adagrad(rates, eps=self.eps),
            "clipup": lambda: clipup(self.learning_rate, self.momentum, self.max_speed),
        }
        clips = {
            "none": optax.identity,
            "global_norm": lambda: optax.clip_by_global_norm(self.clip_limit),
            "value": lambda: optax.clip(self.clip_limit),
        }
        return optax.chain(clips[self.clip](), rules[self.rule]())


def clipup(rate: float, momentum: float, max_speed: float) -> Any:
    """Return ClipUp: steps of length `rate` along the gradient, summed with momentum into a velocity of limited length.

    Toklu et al. 2020, Algorithm 1, in the units of the parameters: v <- momentum v + rate g / |g|, |v| <= max_speed.
    """
    import jax.numpy as jnp
    import optax

    def init(params: Any) -> Any:
        return jnp.zeros_like(params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        length = jnp.linalg.norm(updates)
        velocity = momentum * state - rate * updates / jnp.where(length > 0.0, length, 1.0)
        speed = jnp.linalg.norm(velocity)
        velocity = velocity * jnp.where(speed > max_speed, max_speed / jnp.where(speed > 0.0, speed, 1.0), 1.0)
        return velocity, velocity

    return optax.GradientTransformation(init, update)


@lru_cache(maxsize=32)
def _compile_rule(rule: StepRule, size: int) -> tuple[np.ndarray, Callable[[Any, Any, Any], Any]]:
    """Return the first memory (K,) of a rule in D = `size` coordinates, and the compiled step.

    It is compiled for the CPU, so that a run gives the same bytes on a machine with an accelerator. A packed step
    count is exact up to 2^53.
    """
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    transformation = rule.transformation()
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        empty, unflatten = ravel_pytree(transformation.init(jnp.zeros(size)))

    def step(direction: Any, memory: Any, point: Any) -> Any:
        updates, state = transformation.update(-direction, unflatten(memory.astype(empty.dtype)), point)  # it descends
        return updates, ravel_pytree(state)[0].astype(jnp.float64)

    return np.asarray(empty, np.float64), jax.jit(jnp.vectorize(step, signature="(d),(k),(d)->(d),(k)"))
