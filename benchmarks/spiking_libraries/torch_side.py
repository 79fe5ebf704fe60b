"""What the PyTorch sides share: weights as parameters, the losses, and a twin from a function that runs the net."""

from collections.abc import Callable

import torch
from measure import Twin, threads
from nets import Net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Run = Callable[[], tuple[Tensor, list[Tensor]]]  # the loss () and the spikes (T, ...) of each spiking layer

torch.set_num_threads(threads())


def parameters(net: Net) -> list[nn.Parameter]:
    """Return the weights, (n_pre, n_post) each."""
    return [nn.Parameter(torch.from_numpy(w.copy())) for w in net.weights]


def linear(weight: Tensor, factor: float = 1.0) -> nn.Linear:
    """Return the layer that multiplies with `factor` times `weight` (n_pre, n_post); its weight is a leaf."""
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=False)
    with torch.no_grad():
        layer.weight.copy_(factor * weight.T)
    return layer


def count_loss(spikes: Tensor, net: Net) -> Tensor:
    """Return the mean square of the counts of `spikes` (T, B, N) minus the target."""
    return (spikes.sum(0) - torch.from_numpy(net.target)).square().mean()


def class_loss(readout: Tensor, net: Net) -> Tensor:
    """Return the cross-entropy of the mean over time of `readout` (T, B, 10)."""
    return cross_entropy(readout.mean(0), torch.from_numpy(net.target))


def twin(library: str, version: str, note: str, run: Run, weights: list[Tensor], compiles: bool = False) -> Twin:
    """Return the twin that calls `run`: without recording, and with the gradient of all `weights`."""

    def forward() -> float:
        with torch.no_grad():
            return run()[0].item()

    def gradients() -> tuple[float, list[Tensor]]:
        loss, _ = run()
        return loss.item(), list(torch.autograd.grad(loss, weights))

    def rates() -> list[float]:
        with torch.no_grad():
            return [s.mean().item() for s in run()[1]]

    return Twin(library, version, compiles, note, forward, gradients, rates)
