"""Who projects to whom, how late, and in which order populations are taken: all that follows before a network runs.

Legend: N neurons; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.sparse.csgraph import connected_components

from l2l_snn.snn.cells import Cell
from l2l_snn.snn.convolution import Convolution
from l2l_snn.snn.delays import delay_steps
from l2l_snn.snn.parameters import Array, check_shape_of, check_step, known
from l2l_snn.snn.plasticity import Rule
from l2l_snn.validate import check_count, did_you_mean, message


@dataclass(frozen=True)
class Population:
    """n neurons of one kind, or n sources whose spikes are given from outside."""

    n: int
    cell: Cell | None = None


@dataclass(frozen=True)
class Projection:
    """Synapses from every neuron of `pre` to every neuron of `post`, or a convolution; weights are given to `init`."""

    pre: str
    post: str
    delay: Any = 1.0  # ms, one or (n_pre, n_post); multiples of dt
    mask: Array | None = None  # (n_pre, n_post) of 0 and 1: which synapses there are
    rule: Rule | None = None  # None: fixed weights
    convolution: Convolution | None = None  # neurons lie in maps, and a kernel is all weights; None: a weight a pair


class Component(NamedTuple):
    """Populations that reach each other, or a single one."""

    names: tuple[str, ...]  # of populations, in the order in which to take them
    projections: tuple[str, ...]  # among them
    loop: int | None  # steps that a spike takes at least round a loop; None: there is no loop


@dataclass(frozen=True)
class Topology:
    """Populations and projections by name, checked, and what follows from them."""

    populations: Mapping[str, Population]
    projections: Mapping[str, Projection]
    dt: float  # ms

    def __post_init__(self) -> None:
        check_step(self.dt)
        for name, population in self.populations.items():
            check_count(f"populations.{name}", population.n)
            if population.cell is not None:
                jax.eval_shape(partial(population.cell.init, population.n))  # a cell checks its parameters there
        for name, projection in self.projections.items():
            self._check_projection(name, projection)
        if any(component.loop == 0 for component in self.components):
            todo = "let a spike take at least one step on its way round"
            raise ValueError(message("delay", "loops that take time", "projections with delay 0 that close one", todo))

    def _check_projection(self, name: str, projection: Projection) -> None:
        for end in ("pre", "post"):
            population = getattr(projection, end)
            if population not in self.populations:
                known_as = did_you_mean(population, self.populations)
                raise ValueError(message(f"{name}.{end}", "a population of this network", repr(population), known_as))
        if self.populations[projection.post].cell is None:
            raise ValueError(message(f"{name}.post", "a population with a cell", f"{projection.post!r}, a source"))
        shape = self.shape(name)
        steps = delay_steps(f"{name}.delay", projection.delay, self.dt, shape)
        if projection.convolution is not None:
            self._check_convolution(name, projection, projection.convolution, steps)
        if projection.mask is not None:
            check_shape_of(f"{name}.mask", projection.mask, shape)
        if projection.rule is not None:
            if steps.ndim:
                raise ValueError(message(f"{name}.delay", "one delay where a rule learns", "one a synapse"))
            jax.eval_shape(partial(projection.rule.init, *shape))

    def _check_convolution(self, name: str, projection: Projection, maps: Convolution, steps: np.ndarray) -> None:
        for end, shape in (("pre", maps.shape), ("post", maps.post_shape)):
            population = getattr(projection, end)
            n, expected = self.populations[population].n, int(np.prod(shape))
            if n != expected:
                expected = f"{expected} neurons, {' x '.join(map(str, shape))}, for {name}.convolution"
                raise ValueError(message(f"populations.{population}", expected, n))
        own = {"mask": projection.mask, "rule": projection.rule, "delay": steps if steps.ndim else None}
        for field, value in own.items():
            if value is not None:
                got = "one for each synapse" if field == "delay" else f"a {field}"
                raise ValueError(message(f"{name}.{field}", "none with a convolution (synapses share weights)", got))

    def weight_shape(self, projection: str) -> tuple[int, ...]:
        """Return (n_pre, n_post) of a projection's weights, or (k, k, C_in, C_out) of a convolution's."""
        convolution = self.projections[projection].convolution
        return self.shape(projection) if convolution is None else convolution.weight_shape

    def shape(self, projection: str) -> tuple[int, int]:
        """Return (n_pre, n_post) of a projection."""
        ends = self.projections[projection]
        return self.populations[ends.pre].n, self.populations[ends.post].n

    def receptors(self, population: str) -> int:
        """Return R of a population with a cell: how many kinds of input its cells tell apart."""
        return self.cells[population].receptors

    @cached_property
    def delays(self) -> dict[str, np.ndarray]:
        """Delays in steps, () or (n_pre, n_post), of each projection."""
        return {
            name: delay_steps(f"{name}.delay", projection.delay, self.dt, self.shape(name))
            for name, projection in self.projections.items()
        }

    @cached_property
    def components(self) -> list[Component]:
        """The populations, those that close a loop together, so that none comes before one that reaches it."""
        names = list(self.populations)
        reaches = np.zeros((len(names), len(names)))
        for projection in self.projections.values():
            reaches[names.index(projection.pre), names.index(projection.post)] = 1
        _, label = connected_components(reaches, connection="strong")
        members = {i: [name for name, of in zip(names, label, strict=True) if of == i] for i in label}
        before = {i: set(label[reaches[:, label == i].any(axis=1)]) - {i} for i in members}
        return [self._order_component(members[i]) for i in TopologicalSorter(before).static_order()]

    def _order_component(self, names: list[str]) -> Component:
        """Return populations that reach each other, in an order that holds for as many steps as can be."""
        inside = [name for name, p in self.projections.items() if p.pre in names and p.post in names]
        for loop in sorted({int(self.delays[name].min()) for name in inside}, reverse=True):
            graph: dict[str, set[str]] = {name: set() for name in names}
            for name in inside:
                if self.delays[name].min() < loop:
                    graph[self.projections[name].post].add(self.projections[name].pre)
            with suppress(CycleError):
                return Component(tuple(TopologicalSorter(graph).static_order()), tuple(inside), loop)
        return Component(tuple(names), (), None)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """The cell of each population that isn't a source."""
        return {name: population.cell for name, population in self.populations.items() if population.cell is not None}

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The rule of each plastic projection."""
        return {name: projection.rule for name, projection in self.projections.items() if projection.rule is not None}

    @property
    def plastic(self) -> list[str]:
        """Projections that have a rule."""
        return list(self.rules)

    @cached_property
    def interval(self) -> int:
        """Steps between two updates of plastic weights: what all rules agree on, else 1."""
        every = [rule.every(self.dt) for rule in self.rules.values()]
        return int(every[0]) if every and known(*every) and len(set(every)) == 1 else 1

    @cached_property
    def changing(self) -> list[str]:
        """Plastic projections whose rule changes the weights themselves, in every step, and not a trace beside them."""
        return self.plastic if self.interval == 1 else []
