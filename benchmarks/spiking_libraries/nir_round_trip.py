"""A network of the engine, written as NIR and read by snnTorch or Norse: do both give the same spikes?

    python benchmarks/spiking_libraries/nir_round_trip.py --peers ../peers_venv/bin/python   # with nir, nirtorch
    ... --library norse
    ... --job jobs/stbp_mnist.yaml --weights stbp_mnist-101.npz          a trained one, on test pictures

Without weights, one of random weights and spikes (784-512-10, 50 steps). The other side is this file again, with the
Python that has the library, and the spikes and the .nir file in a folder between them.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 64
STEP = 1e-4  # s, of a step in the file


def write(folder: Path, job: Path, weights: Path | None) -> None:
    """Write the network, its input (T, B, n) and the spikes of its layers."""
    import jax
    import jax.numpy as jnp
    import nir

    from l2l_snn.loop.job import load
    from l2l_snn.snn.interchange import fold_resistance

    _, net, _ = load(job, [] if weights else ["optimizee.code=bernoulli", "optimizee.steps=50"])
    if weights:
        params = {name: jnp.asarray(value, jnp.float32) for name, value in np.load(weights).items()}
        x = jnp.asarray(net.data.testing().x[:SAMPLES] / 255, jnp.float32)
        given = np.broadcast_to(np.asarray(x).reshape(1, SAMPLES, -1), (net.steps, SAMPLES, net.sizes[0]))
    else:
        z = net.space.sample(np.random.default_rng(1), 1)[0]
        params = {name: jnp.asarray(3 * value, jnp.float32) for name, value in net.space.decode(z).items()}
        given = (np.random.default_rng(2).random((net.steps, SAMPLES, net.sizes[0])) < 0.2).astype(np.float32)
    layers = net.to_nir(params)
    engine = replace(net, code="bernoulli").network()
    state = engine.init({name: params[name] for name in engine.projections}, batch=SAMPLES)
    currents = {str(i): params[f"b{i}"] for i in range(1, len(net.sizes))}
    _, record = jax.jit(lambda s: engine.rollout(state, spikes={"0": s}, currents=currents))(jnp.asarray(given))
    nir.write(folder / "snntorch.nir", layers)
    nir.write(folder / "norse.nir", fold_resistance(layers))
    found = {f"layer{name}": np.asarray(value) for name, value in record.spikes.items() if name != "0"}
    np.savez(folder / "spikes.npz", given=given, **found)


def spikes_of(out: Any) -> np.ndarray:
    """Return what a layer fired (B, n), whether it gives its potentials too or not."""
    return (out[0] if isinstance(out, tuple) else out).numpy()


def read_by_snntorch(path: Path) -> tuple[Any, type, str]:
    """Return a network of snnTorch, the class of its neurons, and the library's version."""
    import nir
    import snntorch
    from snntorch.import_nir import import_from_nir

    return import_from_nir(nir.read(path)), snntorch.Leaky, f"snnTorch {snntorch.__version__}"


def read_by_norse(path: Path) -> tuple[Any, type, str]:
    """Return a network of Norse, the class of its neurons, and the library's version."""
    import nir
    import norse.torch as norse

    return norse.from_nir(nir.read(path), dt=STEP), norse.LIFBoxCell, "Norse"


def compare(folder: Path, library: str) -> None:
    """Print how many spikes of each layer the library has as the engine has them."""
    import torch

    arrays = dict(np.load(folder / "spikes.npz"))
    read = {"snntorch": read_by_snntorch, "norse": read_by_norse}[library]
    net, cell, version = read(folder / f"{library}.nir")
    found: dict[str, list] = {}
    for name, module in net.named_modules():
        if isinstance(module, cell):
            keep = found.setdefault(f"layer{name.split('.')[-1]}", [])
            module.register_forward_hook(lambda module, given, out, keep=keep: keep.append(spikes_of(out)))
    state = None
    with torch.no_grad():
        for x in torch.from_numpy(arrays["given"]):
            if library == "norse":
                _, state = net(x, state)
            else:
                net(x)  # its neurons keep their potentials themselves
    print(f"{version}, torch {torch.__version__}, {len(arrays['given'])} steps, {SAMPLES} samples")
    for name in sorted(found):
        ours, theirs = arrays[name], np.stack(found[name])
        differ = int((ours != theirs).sum())
        print(f"{name}: {int(ours.sum())} spikes of ours, {int(theirs.sum())} of theirs, {differ} differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="Python of the environment with the library, nir and nirtorch")
    parser.add_argument("--library", choices=("snntorch", "norse"), default="snntorch")
    parser.add_argument("--job", type=Path, default=Path("jobs/stbp_mnist.yaml"))
    parser.add_argument("--weights", type=Path, help="of benchmarks/experiments/classify.py")
    parser.add_argument("--folder", type=Path, help="compare what is in it, in this process")
    options = parser.parse_args()
    if options.folder:
        compare(options.folder, options.library)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.job, options.weights)
        subprocess.run([options.peers, __file__, "--library", options.library, "--folder", folder], check=True)


if __name__ == "__main__":
    sys.exit(main())
