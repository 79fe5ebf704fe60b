"""The LSNN (net b of spiking_libraries): time beside snnTorch and Norse, and memory of 10,000 steps.

    python benchmarks/engine/lsnn.py --peers ../peers_venv/bin/python     # both; without --peers memory alone

Time: 80-220-10, the 220 recurrent with adaptive thresholds, T 784, batch 32, forward and backward, sides alternately,
each in a process of its own; see spiking_libraries/README.md. Memory: the most that a process of its own ever held
(its peak resident set), for one gradient at `--steps` by BPTT with the states kept at every so many steps.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parents[1] / "spiking_libraries"
sys.path.insert(0, str(PEERS))

from run import rows_of, table  # noqa: E402

SIDES = ("ours.py", "peer_snntorch.py", "peer_norse.py")


def speed(peers: str, rounds: int, repeats: int) -> list[str]:
    """Return the lines of the table of times."""
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    commands = [[sys.executable if side == "ours.py" else peers, str(PEERS / side)] for side in SIDES]
    rows = []
    for turn in range(rounds):
        for command in commands[turn % 3 :] + commands[: turn % 3]:
            found = rows_of([*command, "--net", "b", "--repeats", str(repeats)], cores, "", 900.0)
            rows += [{**row, "round": turn} for row in found]
    return table(rows)


def memory(steps: int, every: int) -> str:
    """Return a line of the table of memory: one gradient in this process, which has done nothing else."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from nets import make
    from ours import network

    from l2l_snn.snn.gradients import BPTT

    given, generator = make("b"), np.random.default_rng(2)
    net = network(given)
    spikes = (generator.random((steps, 32, 80), dtype=np.float32) < 0.05).astype(np.float32)

    def loss(record: Any, labels: Any) -> Any:
        log_p = jax.nn.log_softmax(record.counts["2"] / steps)
        return -jnp.take_along_axis(log_p, given.target[:, None], axis=1).mean()

    rule = BPTT(checkpoint_every=every or None)

    @jax.jit
    def gradient(weights: dict[str, Any], spikes: Any) -> Any:
        found = rule(net, net.init(weights, batch=32), loss, spikes={"0": spikes}, record=("counts.2",))
        return found.loss, found.weights

    weights = {f"w{i}": jnp.asarray(w) for i, w in enumerate(given.weights)}
    value, grads = jax.block_until_ready(gradient(weights, spikes))
    start = time.perf_counter()
    jax.block_until_ready(gradient(weights, spikes))
    seconds = time.perf_counter() - start
    norms = [float(jnp.linalg.norm(g)) for g in grads.values()]
    if not all(0 < norm < np.inf for norm in norms):
        raise RuntimeError(f"expected finite gradients that aren't zero, got norms {norms}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # GB; Linux counts in KiB
    return f"| {steps} | {every or 'all'} | {peak:.2f} | {seconds:.1f} | {float(value):.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="Python of the environment with snnTorch and Norse")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="timed calls in a round")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--every", type=int, nargs="+", default=[100, 0], help="steps between kept states; 0: all")
    parser.add_argument("--here", action="store_true", help="memory of the first --every, in this process")
    options = parser.parse_args()
    if options.here:
        print(memory(options.steps, options.every[0]))
        return
    if options.peers:
        print("\n".join(speed(options.peers, options.rounds, options.repeats)), flush=True)
    print("\n| steps | state kept every | peak, GB | forward + backward, s | loss |\n| --: | --: | --: | --: | --: |")
    for every in options.every:
        command = [sys.executable, __file__, "--here", "--steps", str(options.steps), "--every", str(every)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr[-1000:]}", flush=True)


if __name__ == "__main__":
    main()
