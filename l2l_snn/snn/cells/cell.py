"""What a network needs of a neuron model.

    @jax.tree_util.register_dataclass          # a pytree: its fields may be traced
    @dataclass(frozen=True)
    class Leaky(Cell):
        tau_m: Array = 20.0  # ms

Legend: N neurons. A field is () or (N,), and may be traced: evolved or trained.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax

from l2l_snn.snn.parameters import Array


class Arriving(NamedTuple):
    """What reaches N neurons in one step, where a cell has two receptors."""

    weights: Array  # (2, N) sum of those >= 0, and of those <= 0, pA (mV for IafPscDelta)
    current: Array  # () or (N,) injected current, pA


@dataclass(frozen=True)
class Cell(ABC):
    """A neuron model; a subclass is a frozen dataclass of parameters that is registered as a pytree."""

    receptors: ClassVar[int] = 1  # R; 2: `input` is `Arriving`, positive and negative weights apart
    spiking: ClassVar[bool] = True  # False: what it sends is a number, as of a readout
    per_step: ClassVar[bool] = False  # True: it has no time constants; its decays hold for a step, whatever `dt` is

    @abstractmethod
    def init(self, n: int) -> Any:
        """Return the state of n neurons at rest, a NamedTuple; refuse parameters that don't fit."""

    @abstractmethod
    def propagators(self, dt: float) -> Any:
        """Return the constants of a step, in any pytree; a network works them out once and hands them to all steps."""

    @abstractmethod
    def step(self, state: Any, input: Any, dt: float, propagators: Any = None) -> tuple[Any, jax.Array]:
        """Return the state one step later and the spikes (N,) in {0, 1}, or any numbers if it isn't `spiking`; pure.

        Args:
            state: of N neurons.
            input: (N,), or `Arriving` where `receptors` is 2.
            dt: step, ms.
            propagators: those of `dt`; None: they are worked out here.
        """

    @abstractmethod
    def potential(self, state: Any) -> Array:
        """Return the membrane potentials (N,), for records."""
