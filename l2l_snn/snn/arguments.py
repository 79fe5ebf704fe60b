"""What a rollout is given: the names of what to record, and its inputs, checked and brought into one form.

Legend: T steps of a rollout; B batch; N neurons.
"""

from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, check_shape_of
from l2l_snn.snn.state import Inputs
from l2l_snn.snn.topology import Topology
from l2l_snn.validate import check_count, did_you_mean, message

KINDS = ("spikes", "potentials", "weights", "counts")


def wanted_records(topology: Topology, record: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of what to keep, by kind.

    Args:
        topology: what there is.
        record: kinds, or one of them: "spikes.out".

    Raises:
        ValueError: an unknown entry.
    """
    everything = {kind: list(topology.populations) for kind in ("spikes", "counts")} | {"weights": topology.plastic}
    everything["potentials"] = [name for name, p in topology.populations.items() if p.cell is not None]
    wanted: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for entry in [record] if isinstance(record, str) else record:
        kind, _, name = entry.partition(".")
        choices = [*KINDS, *(f"{kind}.{name}" for kind in KINDS for name in everything[kind])]
        if entry not in choices:
            raise ValueError(message("record", "kinds, or kind.name", repr(entry), did_you_mean(entry, choices)))
        wanted[kind] += [name] if name else everything[kind]
    return wanted


def timed_inputs(
    topology: Topology,
    spikes: Mapping[str, Array],
    currents: Mapping[str, Array],
    signals: Mapping[str, Array],
    T: int | None,
    batch: int | None,
) -> tuple[Inputs, dict[str, Array], int]:
    """Return checked inputs in time, with a batch axis; constant currents; and T."""
    sources = {name for name, population in topology.populations.items() if population.cell is None}
    if set(spikes) != sources:
        expected = f"those of the sources {', '.join(sorted(sources)) or '(none)'}"
        raise ValueError(message("spikes", expected, ", ".join(sorted(spikes)) or "none"))
    for argument, given, names in (
        ("currents", currents, set(topology.populations) - sources),
        ("signals", signals, set(topology.plastic)),
    ):
        for name in given:
            if name not in names:
                raise ValueError(message(argument, "names that take them", repr(name), did_you_mean(name, names)))
    constant = {name: value for name, value in currents.items() if np.ndim(value) < 2}
    inputs = Inputs(dict(spikes), {k: v for k, v in currents.items() if k not in constant}, dict(signals))
    for kind, given in zip(Inputs._fields, inputs, strict=True):
        for name, value in given.items():
            T = np.shape(value)[0] if T is None and np.ndim(value) else T
            own = batch is not None and (kind == "signals" or np.ndim(value) == 3)  # one for each of the batch
            rest = np.shape(value)[1 + own :] if kind == "signals" else (topology.populations[name].n,)
            check_shape_of(f"{kind}.{name}", value, (T, *[batch] * own, *rest), "steps along rows")
            value = jnp.asarray(value, dtype=float).reshape(T, (batch or 1) if own else 1, *rest)
            given[name] = jnp.broadcast_to(value, (T, batch or 1, *rest)) if batch else value
    for name, value in constant.items():
        if np.ndim(value):
            check_shape_of(f"currents.{name}", value, (topology.populations[name].n,))
    if T is None:
        raise ValueError(message("steps", "a number of steps", "none", "no input has a time axis"))
    return inputs, constant, check_count("steps", T)
