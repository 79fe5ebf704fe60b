"""Time one side and print its rows: what every side of the comparison shares. Needs numpy alone.

A row is one line of JSON on standard output:

    library, version, net, pass ("forward" or "forward+backward"), ms_median, ms_min, compile_s (what the first call
    took longer than a later one; null where nothing is compiled), note, threads, loss, mean_rate (spikes a neuron and
    step, over all spiking neurons), rates (of each spiking layer)

A side runs on the cores that it is allowed: `taskset -c 0 python ours.py --net a` is one thread.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from nets import NAMES, Net, make

RATES = (0.002, 0.75)  # spikes a neuron and step: outside, a layer is silent or saturated


class Twin(NamedTuple):
    """One library's form of a network; the functions return when the work is done."""

    library: str  # name, with the variant where there are several
    version: str
    compiles: bool
    note: str  # where it differs from nets.py, and which mode it is
    forward: Callable[[], float]  # the loss
    gradients: Callable[[], tuple[float, list[Any]]]  # the loss, and an array for each one of the net's weights
    rates: Callable[[], list[float]] | None  # of each spiking layer; None: no network, nothing to check


def threads() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def times(call: Callable[[], Any], repeats: int) -> tuple[float, float, float]:
    """Return the median and minimum of `repeats` calls, ms, and what the first call before them took longer, s."""
    seconds = []
    for _ in range(repeats + 2):  # the second call still settles: caches, memory that is asked for anew
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    median = float(np.median(seconds[2:]))
    return 1e3 * median, 1e3 * min(seconds[2:]), max(0.0, seconds[0] - median)


def check(twin: Twin, net: Net) -> tuple[float | None, list[float] | None]:
    """Return the loss and the rates; a twin with dead layers or gradients is refused, since its time means nothing."""
    if twin.rates is None:
        return None, None
    loss, gradients = twin.gradients()
    shapes = [np.shape(g) for g in gradients]
    sizes = [w.size for w in net.weights]
    if [int(np.prod(s)) for s in shapes] != sizes:
        raise RuntimeError(
            f"{twin.library}, net {net.name}: expected gradients of {sizes} weights, got shapes {shapes}"
        )
    norms = [float(np.linalg.norm(np.asarray(g, np.float64).ravel())) for g in gradients]
    if not all(np.isfinite(n) and n > 0 for n in norms):
        raise RuntimeError(f"{twin.library}, net {net.name}: expected finite gradients that aren't zero, norms {norms}")
    rates = twin.rates()
    if not all(RATES[0] <= r <= RATES[1] for r in rates):
        raise RuntimeError(f"{twin.library}, net {net.name}: expected rates in {RATES}, got {rates}")
    if not np.isfinite(loss):
        raise RuntimeError(f"{twin.library}, net {net.name}: expected a finite loss, got {loss}")
    return loss, rates


def report(twin: Twin, net: Net, repeats: int) -> None:
    """Time both passes of `twin` and print a row for each."""
    timed = {"forward": times(twin.forward, repeats), "forward+backward": times(twin.gradients, repeats)}
    loss, rates = check(twin, net)
    neurons = [220] if net.name == "b" else [w.shape[-1] for w in net.weights]
    for name, (median, minimum, first) in timed.items():
        row = {
            "library": twin.library,
            "version": twin.version,
            "net": net.name,
            "pass": name,
            "ms_median": round(median, 3),
            "ms_min": round(minimum, 3),
            "compile_s": round(first, 3) if twin.compiles else None,
            "note": twin.note,
            "threads": threads(),
            "loss": loss and round(loss, 5),
            "mean_rate": rates and round(float(np.average(rates, weights=neurons)), 5),
            "rates": rates and [round(r, 5) for r in rates],
        }
        print(json.dumps(row), flush=True)


def main(twins: Callable[[Net], Iterable[Callable[[], Twin]]]) -> None:
    """Read the command line and report each twin that `twins` makes, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", choices=NAMES, required=True)
    parser.add_argument("--repeats", type=int, default=5, help="timed calls, after two that warm up")
    parser.add_argument("--without", metavar="TEXT", help="leave out the variants whose name contains this")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats: expected 1 or more, got {options.repeats}")
    net = make(options.net)
    for build in twins(net):
        twin = build()
        if options.without is None or options.without not in twin.library:
            report(twin, net, options.repeats)
