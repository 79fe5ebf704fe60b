"""Optimizers with a step rule, whose fields are given beside the optimizer's own."""

from dataclasses import fields, replace
from typing import Any

from l2l_snn.search.step_rules import StepRule


def with_step(optimizer: Any, **values: Any) -> Any:
    """Return an optimizer, of a class or changed from another, with fields of its own and of its step rule."""
    own = {field.name for field in fields(optimizer)}
    rule = {field.name for field in fields(StepRule)} - own
    step = replace(optimizer.step, **{name: value for name, value in values.items() if name in rule})
    mine = {name: value for name, value in values.items() if name not in rule}
    return optimizer(step=step, **mine) if isinstance(optimizer, type) else replace(optimizer, step=step, **mine)
