"""Norse: LIFBoxCell and LSNNRecurrentCell in a loop, eager and compiled, and its LIF module that loops by itself.

    VENV/bin/python benchmarks/spiking_libraries/peer_norse.py --net a

Norse's membranes take a share 1 - beta of their input in each step, so weights are larger by the inverse; its
superspike has the derivative 1 / (1 + |x|)^2 whatever `alpha` is.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import norse.torch as norse
import torch
from measure import Twin, main
from nets import BETA, RHO, Net
from norse.torch.functional.reset import reset_subtract
from torch import Tensor
from torch_side import class_loss, count_loss, linear, parameters, twin

VERSION = version("norse")
DT = 1e-3  # s; the time constants below are chosen to decay by beta and rho in one DT
TAU_MEM_INV = torch.tensor((1 - BETA) / DT)
SCALE = 1 / (1 - BETA)
CHUNK = {"a": 20, "b": 16, "c": 20}  # steps compiled together; a divisor of T


Loop = Callable[[Tensor], tuple[Tensor, tuple]]


def over_time(cell: Callable, current: Tensor, state: tuple | None = None) -> tuple[Tensor, tuple]:
    """Return the outputs (C, B, N) of `cell` at the C steps of `current`, and its last state."""
    outputs = []
    for i in current.unbind(0):
        output, state = cell(i, state)
        outputs.append(output)
    return torch.stack(outputs), state


def in_chunks(cell: Callable, chunk: int, first: Callable[[int], tuple]) -> Loop:
    """Return `over_time` of `cell` with `chunk` steps compiled; `first` gives the state for a last axis of N."""
    steps = torch.compile(partial(over_time, cell), fullgraph=True, dynamic=False)

    def loop(current: Tensor) -> tuple[Tensor, tuple]:
        state, outputs = first(current.shape[-1]), []
        for part in current.split(chunk):
            output, state = steps(part, state)
            outputs.append(output)
        return torch.cat(outputs), state

    return loop


def feed_forward(net: Net, kind: str) -> Twin:
    """Return net a or c of LIFBoxCell, compiled or not, or of the LIF module, which has a synaptic current too."""
    x = torch.from_numpy(net.spikes)
    layers = [w.detach().mul_(SCALE).requires_grad_() for w in parameters(net)]
    weights = layers
    if net.name == "a":
        layers = [linear(w) for w in layers]
        weights = [layer.weight for layer in layers]
    box = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=TAU_MEM_INV, reset_method=reset_subtract), dt=DT)
    if kind == "module":
        loop = norse.LIF(norse.LIFParameters(tau_syn_inv=torch.tensor(1 / DT), tau_mem_inv=TAU_MEM_INV), dt=DT)
    elif kind == "compiled":
        loop = in_chunks(box, CHUNK[net.name], lambda n: norse.LIFBoxFeedForwardState(torch.zeros(x.shape[1], n)))
    else:
        loop = partial(over_time, box)

    def product(spikes: Tensor, layer: Callable | Tensor) -> Tensor:
        if callable(layer):
            return layer(spikes)
        return torch.bmm(spikes.transpose(0, 1), layer).transpose(0, 1).contiguous()

    def run() -> tuple[Tensor, list[Tensor]]:
        spikes = [x]
        for layer in layers:
            spikes.append(loop(product(spikes[-1], layer))[0])
        return count_loss(spikes[-1], net), spikes[1:]

    if kind == "module":
        return twin("Norse, LIF module", VERSION, "as shipped: indexes its input by step; reset to 0", run, weights)
    note = "LIFBoxCell, reset by subtraction"
    return named(kind, note, net, run, weights)


def recurrent(net: Net, kind: str) -> Twin:
    """Return net b of LSNNRecurrentCell and LICell, compiled or not."""
    x = torch.from_numpy(net.spikes)
    batch = x.shape[1]
    with torch.no_grad():
        w_in, w_rec, w_out = ((SCALE * w.T).contiguous().requires_grad_() for w in parameters(net))
    hidden = norse.LSNNParameters(
        tau_syn_inv=torch.tensor(1 / DT),  # the current is gone after one step
        tau_mem_inv=TAU_MEM_INV,
        tau_adapt_inv=torch.tensor((1 - RHO) / DT),
        beta=torch.tensor(1 - RHO),
    )
    cell = norse.LSNNRecurrentCell(80, 220, hidden, input_weights=w_in, recurrent_weights=w_rec, autapses=True, dt=DT)
    readout = norse.LICell(norse.LIParameters(tau_syn_inv=torch.tensor(1 / DT), tau_mem_inv=TAU_MEM_INV), dt=DT)
    loop, integrate = partial(over_time, cell), partial(over_time, readout)
    if kind == "compiled":

        def start(_: int) -> norse.LSNNState:
            z, v, i = (torch.zeros(batch, 220) for _ in range(3))
            return norse.LSNNState(z, v, i, torch.ones(batch, 220))

        loop = in_chunks(cell, CHUNK["b"], start)
        integrate = in_chunks(readout, CHUNK["b"], lambda n: norse.LIState(*torch.zeros(2, batch, n)))

    def run() -> tuple[Tensor, list[Tensor]]:
        spikes, _ = loop(x)
        potential, _ = integrate(torch.nn.functional.linear(spikes, w_out))
        return class_loss(potential, net), [spikes]

    note = "LSNNRecurrentCell: adapts; resets to 0; a synaptic current more, of one step"
    return named(kind, note, net, run, [w_in, w_rec, w_out])


def named(kind: str, note: str, net: Net, run: Callable, weights: list[Tensor]) -> Twin:
    """Return the twin of `kind` "eager" or "compiled"."""
    if kind == "compiled":
        note = f"{note}; torch.compile of {CHUNK[net.name]} steps at a time"
        return twin("Norse, compiled", VERSION, note, run, weights, compiles=True)
    return twin("Norse", VERSION, note, run, weights)


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    """Return what makes each variant."""
    build = recurrent if net.name == "b" else feed_forward
    yield partial(build, net, "eager")
    if net.name == "a":
        yield partial(build, net, "module")
    yield partial(build, net, "compiled")


if __name__ == "__main__":
    main(twins)
