"""Training of jobs/stbp_mnist.yaml beside the same network in SpikingJelly, minibatch for minibatch.

    l2l data mnist
    python benchmarks/experiments/classify_torch.py --torch ../peers_venv/bin/python --rounds 5

PyTorch runs in a Python of its own, one that has torch, numpy and spikingjelly (benchmarks/spiking_libraries says how
it is made). Both sides begin with the same weights and show the same minibatches in the same order; an iteration is
forward, backward and Adam. Before anything is timed, both must give the same loss and gradient of the first minibatch,
in float64. A round is `--iterations` of each side, one side after the other; times are seconds of processor, ratios
medians of the ratios within a round. float32, one thread each.

SpikingJelly's side takes its multi-step neurons, and the product of a constant input once, as ours.
"""

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch_peer import peer

JOB = "jobs/stbp_mnist.yaml"


def torch_side(path: Path) -> None:
    """Answer each line of the standard input with one of JSON; runs where torch is."""
    import torch
    from spikingjelly.activation_based import functional, neuron, surrogate

    torch.set_num_threads(1)
    data = np.load(path)
    spec = json.loads(str(data["spec"]))
    pictures, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"]).long()
    order = torch.from_numpy(data["order"])

    def network(dtype: Any) -> tuple[list, Any]:
        layers, neurons = [], torch.nn.ModuleList()
        for k in range(1, spec["layers"] + 1):
            weight, bias = (torch.from_numpy(data[f"{name}{k}"]).to(dtype) for name in "wb")
            layer = torch.nn.Linear(*weight.shape, dtype=dtype)
            with torch.no_grad():
                layer.weight.copy_(weight.T)
                layer.bias.copy_(bias)
            layers.append(layer)
            spike = surrogate.Rect(alpha=1 / spec["a"])
            tau = 1 / (1 - spec["decay"])
            lif = neuron.LIFNode(
                tau, decay_input=False, v_threshold=spec["v_th"], v_reset=0.0, surrogate_function=spike, step_mode="m"
            )
            neurons.append(lif)
        return layers, neurons

    def loss(layers: list, neurons: Any, chosen: Any, dtype: Any) -> Any:
        x = pictures[chosen].reshape(len(chosen), -1).to(dtype) / 255
        first, *others = layers
        functional.reset_net(neurons)
        spikes = neurons[0](first(x).expand(spec["steps"], -1, -1))
        for layer, node in zip(others, neurons[1:], strict=True):
            spikes = node(layer(spikes))
        right = torch.nn.functional.one_hot(labels[chosen], spikes.shape[-1])
        return ((spikes.mean(0) - right) ** 2).sum(-1).mean()

    def same() -> dict:
        layers, neurons = network(torch.float64)
        value = loss(layers, neurons, order[0], torch.float64)
        value.backward()
        grads = {f"w{k}": layer.weight.grad.T for k, layer in enumerate(layers, 1)}
        grads |= {f"b{k}": layer.bias.grad for k, layer in enumerate(layers, 1)}
        return {"loss": value.item(), "grad": {name: grad.flatten().tolist() for name, grad in grads.items()}}

    layers, neurons = network(torch.float32)
    groups = [
        {"params": [getattr(layer, name)], "lr": spec["learning_rate"] * spec["scales"][f"{name[0]}{k}"]}
        for k, layer in enumerate(layers, 1)
        for name in ("weight", "bias")
    ]
    adam = torch.optim.Adam(groups)
    batches = iter(order)

    def train(iterations: int = spec["iterations"]) -> dict:
        began, losses = time.process_time(), []
        for _ in range(iterations):
            adam.zero_grad()
            value = loss(layers, neurons, next(batches), torch.float32)
            value.backward()
            adam.step()
            losses.append(value.item())
        return {"seconds": time.process_time() - began, "loss": float(np.mean(losses))}

    for line in sys.stdin:
        print(json.dumps({"same": same, "one": partial(train, 1), "train": train}[line.strip()]()), flush=True)


def check_same(net: Any, z: Any, theirs: dict, x: np.ndarray, y: np.ndarray) -> str:
    """Return the loss and the gradient's norm of the first minibatch, which must be those of the other side."""
    import jax
    import jax.numpy as jnp
    from classify import joined

    with jax.enable_x64(True):
        params = {name: jnp.asarray(w, jnp.float64) for name, w in net.space.decode(joined(z)).items()}
        # float64 from the pictures on: objective's own division by 255 is in float32
        exact = jnp.asarray(x, jnp.float64) / 255 * jnp.float32(255)
        cost = jax.value_and_grad(lambda p: net.objective(p, jax.random.key(0), exact, y)[0])
        value, grads = cost(params)
        value, grads = float(value), {name: np.asarray(grad) for name, grad in grads.items()}
    np.testing.assert_allclose(theirs["loss"], value, rtol=1e-9)
    for name, grad in grads.items():
        np.testing.assert_allclose(theirs["grad"][name], grad.ravel(), atol=1e-9 * np.abs(grad).max())
    return f"loss {value:.6f} and gradient (norm {sum((g**2).sum() for g in grads.values()) ** 0.5:.4g}) are the same"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", help="a Python that has torch, numpy and spikingjelly")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=110, help="of each side in a round; 550 are an epoch")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return torch_side(options.side)
    if not options.torch:
        parser.error("--torch: expected a Python that has torch and spikingjelly")

    from classify import compile_step, in_parts, minibatches

    from l2l_snn.loop.job import load
    from l2l_snn.seeding import seed_words

    _, net, optimizer = load(Path(JOB), [])
    rule, examples = optimizer.step.transformation(), net.data.training()
    z = in_parts(net, net.space.sample(np.random.default_rng(1), 1)[0].astype(np.float32))
    rows = minibatches(type(examples)(np.arange(len(examples.x)), examples.y), net.data.batch, 1)
    order = np.stack([next(rows)[0] for _ in range(options.rounds * options.iterations + 1)])
    spec = {name: getattr(net, name) for name in ("steps", "decay", "v_th", "a")}
    spec |= {
        "layers": len(net.sizes) - 1,
        "iterations": options.iterations,
        "learning_rate": optimizer.step.learning_rate,
    }
    spec["scales"] = {name: parameter.scale for name, parameter in net.space.parameters.items()}
    weights = net.space.decode(np.concatenate([part.ravel() for part in z.values()]).astype(np.float64))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.npz")
        np.savez(path, spec=json.dumps(spec), order=order, x=examples.x, y=examples.y, **weights)
        with peer(options.torch, __file__, path) as ask:
            print(check_same(net, z, ask("same"), examples.x[order[0]], examples.y[order[0]]))
            step, memory, batches = compile_step(net, rule), rule.init(z), iter(order)

            def train(iterations: int) -> tuple[float, float]:
                nonlocal z, memory
                began, losses = time.process_time(), []
                for _ in range(iterations):
                    chosen = next(batches)
                    z, memory, found = step(z, memory, seed_words(1), examples.x[chosen], examples.y[chosen])
                    losses.append(float(found["loss"]))
                return time.process_time() - began, float(np.mean(losses))

            first, _ = train(1)
            ask("one")
            blocks = [(train(options.iterations), ask("train")) for _ in range(options.rounds)]
    for ours, theirs in blocks:
        print(f"mean loss {ours[1]:.4f}, theirs {theirs['loss']:.4f}")
    times = np.array([(ours[0], theirs["seconds"]) for ours, theirs in blocks]) / options.iterations
    (ours, torch), ratio = 1e3 * np.median(times, axis=0), np.median(times[:, 1] / times[:, 0])
    print(
        f"an iteration: ours {ours:.1f} ms, SpikingJelly {torch:.1f} ms, {ratio:.1f} times; compiled in {first:.1f} s"
    )
    return None


if __name__ == "__main__":
    main()
